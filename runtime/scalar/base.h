// What the scalar functions share: their decoration, bits, and a multiply-add.
//
// Every function here is written once and compiled by g++ and by nvcc, without branches that depend
// on data, so that g++ makes vector code of a loop that calls it. Contraction is stated: a product
// and a sum are fused only where multiply_add is written, and the sources that include this are
// compiled with -ffp-contract=off (nvcc: -fmad=false).
#pragma once

#include <cmath>
#include <cstdint>

// ADJOINT_SCALAR float f(float x): callable in host and device code, always inlined.
#ifdef __CUDACC__
#define ADJOINT_SCALAR __host__ __device__ __forceinline__
#else
#define ADJOINT_SCALAR [[gnu::always_inline]] inline
#endif

namespace adjoint::scalar {

ADJOINT_SCALAR int32_t bits_of(float x) { return __builtin_bit_cast(int32_t, x); }
ADJOINT_SCALAR int64_t bits_of(double x) { return __builtin_bit_cast(int64_t, x); }
ADJOINT_SCALAR float from_bits(int32_t bits) { return __builtin_bit_cast(float, bits); }
ADJOINT_SCALAR double from_bits(int64_t bits) { return __builtin_bit_cast(double, bits); }

// a * b + c: fused where the machine has an instruction for it, else rounded twice. The functions
// are accurate either way.
ADJOINT_SCALAR float multiply_add(float a, float b, float c) {
#if defined(__CUDA_ARCH__) || defined(__FP_FAST_FMAF)
  return fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
ADJOINT_SCALAR double multiply_add(double a, double b, double c) {
#if defined(__CUDA_ARCH__) || defined(__FP_FAST_FMA)
  return fma(a, b, c);
#else
  return a * b + c;
#endif
}

// c0 + c1 x + c2 x^2 + ..., by Horner's rule.
template <typename T>
ADJOINT_SCALAR T polynomial(T, T c0) {
  return c0;
}
template <typename T, typename... Rest>
ADJOINT_SCALAR T polynomial(T x, T c0, Rest... rest) {
  return multiply_add(polynomial(x, rest...), x, c0);
}

// The nearest integer of a number below 2^22 (2^51), in the low bits of the sum's bits, and the
// sum back as a number: adding a large power of two leaves no room for a fraction.
inline constexpr float kRounder = 12582912.0f;                // 1.5 * 2^23
inline constexpr double kDoubleRounder = 6755399441055744.0;  // 1.5 * 2^52

// 2^n, for -127 < n < 128.
ADJOINT_SCALAR float power_of_two(int32_t n) {
  return from_bits(static_cast<int32_t>(static_cast<uint32_t>(n + 127) << 23));
}

// std::conditional, which device code compiled at run time lacks.
template <bool kFirst, typename A, typename B>
struct Conditional {
  using type = A;
};
template <typename A, typename B>
struct Conditional<false, A, B> {
  using type = B;
};

inline constexpr float kInfinity = __builtin_bit_cast(float, 0x7f800000);

}  // namespace adjoint::scalar
