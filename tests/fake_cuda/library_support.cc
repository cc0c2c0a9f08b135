#include "tests/fake_cuda/library_support.h"

#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/fake_cuda/fake_cuda.h"

namespace fake_cuda {
namespace {

std::atomic<int64_t> live_objects{0};

template <typename T>
T read(const void* data, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + index * sizeof(T), sizeof(T));
  return value;
}
template <typename T>
void write(void* data, int64_t index, T value) {
  std::memcpy(static_cast<char*>(data) + index * sizeof(T), &value, sizeof(T));
}

// The nearest number with that many bits behind the leading one, ties to even; for normal ones.
double round_mantissa(double value, int bits) {
  if (!std::isfinite(value) || value == 0) return value;
  const int exponent = std::ilogb(value);
  return std::ldexp(std::nearbyint(std::ldexp(value, bits - exponent)), exponent - bits);
}

uint16_t bf16_bits(float value) {
  if (std::isnan(value)) return 0x7fc0;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t upper = bits >> 16, lower = bits & 0xffff;
  const bool up = lower > 0x8000 || (lower == 0x8000 && (upper & 1));
  return static_cast<uint16_t>(upper + up);
}

uint16_t f16_bits(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  if (magnitude == 0) return sign;
  const int exponent = std::max(std::ilogb(magnitude), -14);
  // Up to 2048: the leading one, and a carry out of the mantissa, add to the exponent.
  const int steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  return static_cast<uint16_t>(sign | (((exponent + 14) << 10) + steps));
}

double f16_value(uint16_t bits) {
  const double sign = bits & 0x8000 ? -1 : 1;
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  if (exponent == 31) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  return sign *
         (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
}

}  // namespace

size_t size_of(Element element) {
  return element == Element::f64 ? 8 : element == Element::f32 ? 4 : 2;
}

double load(Element element, const void* data, int64_t index) {
  switch (element) {
    case Element::f32:
      return read<float>(data, index);
    case Element::f64:
      return read<double>(data, index);
    case Element::bf16:
      return std::bit_cast<float>(static_cast<uint32_t>(read<uint16_t>(data, index)) << 16);
    default:
      return f16_value(read<uint16_t>(data, index));
  }
}

void store(Element element, void* data, int64_t index, double value) {
  switch (element) {
    case Element::f32:
      return write(data, index, static_cast<float>(value));
    case Element::f64:
      return write(data, index, value);
    case Element::bf16:
      return write(data, index, bf16_bits(static_cast<float>(value)));
    default:
      return write(data, index, f16_bits(static_cast<float>(value)));
  }
}

double round_to_tf32(double value) { return round_mantissa(value, 10); }

void fill_with_nan(void* data, size_t bytes) {
  if (bytes != 0) std::memset(data, 0xff, bytes);
}

bool Check::that(bool holds, const std::string& otherwise) {
  if (holds) return true;
  passed_ = false;
  add_finding(call_ + ": " + otherwise);
  return false;
}

bool Check::range(const std::string& what, const void* begin, size_t bytes, size_t alignment) {
  if (bytes == 0) return true;
  return that(begin != nullptr, what + " is null") &&
         that(is_device_range(begin, bytes),
              what + " is not " + std::to_string(bytes) + " bytes of device memory") &&
         that(reinterpret_cast<uintptr_t>(begin) % alignment == 0,
              what + " is not aligned to " + std::to_string(alignment) + " bytes");
}

bool Check::disjoint(const std::string& what, const void* a, size_t a_bytes, const void* b,
                     size_t b_bytes) {
  const auto a_begin = reinterpret_cast<uintptr_t>(a), b_begin = reinterpret_cast<uintptr_t>(b);
  const bool apart =
      a_bytes == 0 || b_bytes == 0 || a_begin + a_bytes <= b_begin || b_begin + b_bytes <= a_begin;
  return that(apart, what + " overlap");
}

int64_t live_library_objects() { return live_objects; }
void count_library_objects(int64_t added) { live_objects += added; }

}  // namespace fake_cuda
