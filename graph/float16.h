// Conversions between float and the two 16-bit storage formats, in plain integer arithmetic so that
// every compiler (nvcc included) gives the same bits. Rounding is to nearest, ties to even; a NaN
// stays a (quiet) NaN.
//
//   Bf16 b = to_bf16(1.5f);  float x = to_float(b);
#pragma once

#include <cstdint>

#include "graph/host_device.h"

namespace adjoint {

// bfloat16: the upper half of a float32.
struct Bf16 {
  uint16_t bits = 0;
  bool operator==(const Bf16&) const = default;
};

// IEEE 754 binary16.
struct F16 {
  uint16_t bits = 0;
  bool operator==(const F16&) const = default;
};

ADJOINT_HOST_DEVICE constexpr float to_float(Bf16 value) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(value.bits) << 16);
}

ADJOINT_HOST_DEVICE constexpr Bf16 to_bf16(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

ADJOINT_HOST_DEVICE constexpr float to_float(F16 value) {
  const uint32_t sign = (value.bits & 0x8000u) << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const uint32_t mantissa = value.bits & 0x3ffu;
  if (exponent == 31) return __builtin_bit_cast(float, sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in float32
    const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
    return __builtin_bit_cast(float, sign | __builtin_bit_cast(uint32_t, magnitude));
  }
  return __builtin_bit_cast(float, sign | ((exponent + 112) << 23) | (mantissa << 13));
}

ADJOINT_HOST_DEVICE constexpr F16 to_f16(float value) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // rounds to inf
  const uint32_t exponent = magnitude >> 23;
  if (exponent < 102) return {static_cast<uint16_t>(sign)};  // below half the least subnormal
  if (exponent < 113) {
    const uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    const uint32_t shift = 126 - exponent;
    const uint32_t half = 1u << (shift - 1);
    const uint32_t odd = (mantissa >> shift) & 1u;
    return {static_cast<uint16_t>(sign | ((mantissa + half - 1 + odd) >> shift))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

}  // namespace adjoint
