// Exponentials, logarithms and powers of floats, to about one unit in the last place (each function
// says its bound, tested over all magnitudes), with the special values of C's functions. The
// overloads for double are the C library's.
//
//   scalar::exp(1.0f);   scalar::pow(2.0f, 0.5f);
#pragma once

#include "runtime/scalar/base.h"

namespace adjoint::scalar {

// x = n ln 2 + r with |r| <= ln 2 / 2: 2^n as two factors, so that neither overflows, and
// (e^r - 1 - r) / r^2.
struct ExpParts {
  float r;
  float tail;
  float scale;   // scale * scale2 = 2^n
  float scale2;  // a power of two
};
ADJOINT_SCALAR ExpParts exp_parts(float x) {
  const float shifted = multiply_add(x, 1.44269504f, kRounder);
  const float n = shifted - kRounder;
  ExpParts parts;
  parts.r = multiply_add(n, -0.693145752f, x);  // 15 bits: n times it is exact
  parts.r = multiply_add(n, -1.42860677e-6f, parts.r);
  parts.tail = polynomial(parts.r, 0.5f, 0.1666666668f, 0.04166645681f, 0.008333310024f,
                          0.001393454193f, 0.0001989198131f);
  const int32_t power = bits_of(shifted) - bits_of(kRounder);
  const int32_t half = power >> 1;
  parts.scale = power_of_two(half);
  parts.scale2 = power_of_two(power - half);
  return parts;
}

// Error below 1 ulp, subnormal results included.
ADJOINT_SCALAR float exp(float x) {
  float clamped = x > 90.0f ? 90.0f : x;
  clamped = clamped < -105.0f ? -105.0f : clamped;
  const ExpParts p = exp_parts(clamped);
  const float power = multiply_add(p.r * p.r, p.tail, p.r) + 1.0f;
  return x != x ? x : power * p.scale * p.scale2;
}
ADJOINT_SCALAR double exp(double x) { return ::exp(x); }

// Error below 2 ulp.
ADJOINT_SCALAR float expm1(float x) {
  float clamped = x > 90.0f ? 90.0f : x;
  clamped = clamped < -20.0f ? -20.0f : clamped;
  const ExpParts p = exp_parts(clamped);
  const float power = multiply_add(p.r * p.r, p.tail, p.r);  // e^r - 1
  // 2^n (e^r - 1) + 2^n - 1, with one factor of 2^n put off against overflow.
  const float unit = 1.0f / p.scale2;  // exact
  const float result = multiply_add(power, p.scale, p.scale - unit) * p.scale2;
  // Tiny values are their own result, -0 among them.
  return x != x || (x < 1e-8f && x > -1e-8f) ? x : result;
}
ADJOINT_SCALAR double expm1(double x) { return ::expm1(x); }

// log of a positive, finite float: error below 1 ulp.
ADJOINT_SCALAR float log_positive(float x) {
  const bool tiny = x < 1.17549435e-38f;
  const float normal = tiny ? x * 8388608.0f : x;
  // x = 2^n m with sqrt(1/2) <= m < sqrt(2).
  const uint32_t bits = static_cast<uint32_t>(bits_of(normal));
  const int32_t power = static_cast<int32_t>(bits - bits_of(0.707106769f)) >> 23;
  const float m = from_bits(static_cast<int32_t>(bits - (static_cast<uint32_t>(power) << 23)));
  const float n = static_cast<float>(power) - (tiny ? 23.0f : 0.0f);
  const float f = m - 1.0f;
  const float f2 = f * f;
  float tail =
      polynomial(f, 0.3333333328f, -0.2499999028f, 0.2000001004f, -0.1666800152f, 0.1428652455f,
                 -0.1245074332f, 0.1103778336f, -0.1064619164f, 0.1053086474f, -0.06201500119f);
  tail = multiply_add(n, -2.12194440e-4f, f2 * f * tail);  // ln 2 = 0.693359375 - 2.12e-4
  tail = multiply_add(f2, -0.5f, tail);
  return multiply_add(n, 0.693359375f, f + tail);
}

// Error below 1 ulp; -inf at 0, NaN below.
ADJOINT_SCALAR float log(float x) {
  float result = log_positive(x);
  result = x == kInfinity ? kInfinity : result;
  result = x == 0.0f ? -kInfinity : result;
  return x >= 0.0f ? result : from_bits(0x7fc00000);
}
ADJOINT_SCALAR double log(double x) { return ::log(x); }

// Error below 2 ulp.
ADJOINT_SCALAR float log1p(float x) {
  // The logarithm of the rounded sum, plus what rounding lost of it.
  const float sum = 1.0f + x;
  const float lost = x - (sum - 1.0f);
  const float correction = sum - 1.0f == x ? 0.0f : lost / sum;
  const float result = log(sum) + correction;
  return x < 1e-8f && x > -1e-8f ? x : result;
}
ADJOINT_SCALAR double log1p(double x) { return ::log1p(x); }

// log2 |x| in double, to 1e-15 absolutely and relatively, for x finite and not 0.
ADJOINT_SCALAR double log2_magnitude(float x) {
  const int64_t bits = bits_of(static_cast<double>(x)) & 0x7fffffffffffffff;
  // |x| = 2^n m with sqrt(1/2) <= m < sqrt(2); a double holds every float as a normal number. The
  // exponent becomes a double by adding its bits to those of a large number.
  const int64_t offset = bits - bits_of(0.70710678118654752) + (int64_t{1024} << 52);
  const int64_t power = static_cast<int64_t>(static_cast<uint64_t>(offset) >> 52);
  const double m = from_bits(bits - ((power - 1024) << 52));
  const double n = from_bits(power + bits_of(kDoubleRounder)) - kDoubleRounder - 1024.0;
  const double s = (m - 1.0) / (m + 1.0);
  return multiply_add(s,
                      polynomial(s * s, 2.88539008177792731, 0.961796693924324535,
                                 0.577078017250872897, 0.412198401306843377, 0.320616442124484581,
                                 0.261442455571365507, 0.242938246063263215),
                      n);
}

// 2^t as a double, for |t| < 1000.
ADJOINT_SCALAR double exp2_double(double t) {
  const double shifted = t + kDoubleRounder;
  const double f = t - (shifted - kDoubleRounder);
  const double power =
      polynomial(f, 1.0, 0.693147180559949983, 0.240226506959100982, 0.0555041086644477192,
                 0.00961812910760688853, 0.00133335582301649739, 0.000154035304417360502,
                 0.0000152526572602008371, 1.32154425879216897e-6, 1.02086902999583058e-7,
                 7.0725859492692237e-9);
  return from_bits(bits_of(power) + (bits_of(shifted) << 52));
}

// a^b with the special cases of C's pow: computed in double, error below 0.51 ulp.
ADJOINT_SCALAR float pow(float a, float b) {
  const float magnitude = a < 0.0f ? -a : a;
  const float exponent = b < 0.0f ? -b : b;
  // Is b an odd integer? Above 2^24 all floats are even integers.
  const float bounded = exponent < 16777216.0f ? exponent : 0.0f;
  const int32_t whole = static_cast<int32_t>(bounded);
  const bool fraction = static_cast<float>(whole) != bounded;
  const bool odd = !fraction && (whole & 1) != 0;

  const bool ordinary = magnitude > 0.0f && magnitude < kInfinity;
  double t = static_cast<double>(b) * log2_magnitude(ordinary ? a : 1.0f);
  t = t > 300.0 ? 300.0 : t;
  t = t < -300.0 ? -300.0 : t;
  float result = static_cast<float>(exp2_double(t));
  // 0^b and inf^b.
  const float extreme = (magnitude == 0.0f) == (b < 0.0f) ? kInfinity : 0.0f;
  result = ordinary ? result : extreme;
  // (+-1)^(+-inf) = 1, which inf * 0 above made NaN or 300.
  result = exponent == kInfinity && magnitude == 1.0f ? 1.0f : result;
  const bool negative = bits_of(a) < 0;
  result = negative && odd ? -result : result;
  result = a < 0.0f && ordinary && fraction ? from_bits(0x7fc00000) : result;
  result = a != a || b != b ? a + b : result;
  return b == 0.0f || a == 1.0f ? 1.0f : result;
}
ADJOINT_SCALAR double pow(double a, double b) { return ::pow(a, b); }

}  // namespace adjoint::scalar
