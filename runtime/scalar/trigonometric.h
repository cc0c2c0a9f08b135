// Sine and cosine of floats of any size: error below 0.51 ulp. For doubles they are the C
// library's.
#pragma once

#include "runtime/scalar/base.h"

namespace adjoint::scalar {

// x = quarter * pi / 2 + r with |r| <= pi / 4; quarters count modulo 4.
struct Angle {
  double r;
  int64_t quarter;
};

// Payne and Hanek's method, in integers alone: x = m 2^e with a 24-bit m. Of 2 / pi only the bits
// from 2^(1 - e) on matter modulo 4 quarters; 96 of them leave 62 bits of fraction, and no float is
// nearer than 2^-30 to a multiple of pi / 2.
ADJOINT_SCALAR Angle reduce_angle(float x) {
  constexpr uint32_t kTwoOverPi[] = {0,          0xa2f9836e, 0x4e441529, 0xfc2757d1,
                                     0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab};
  const uint32_t bits = static_cast<uint32_t>(bits_of(x)) & 0x7fffffffu;
  const int32_t exponent = static_cast<int32_t>(bits >> 23) - 150;
  const uint64_t m = (bits & 0x7fffffu) | 0x800000u;
  int32_t first = exponent - 2 + 32;  // the table begins with 32 zero bits
  first = first < 0 ? 0 : first;
  first = first > 134 ? 134 : first;  // infinity and NaN
  const int32_t word = first >> 5;
  const uint64_t shift = first & 31;
  const uint64_t high = (static_cast<uint64_t>(kTwoOverPi[word]) << 32) | kTwoOverPi[word + 1];
  const uint64_t low = (static_cast<uint64_t>(kTwoOverPi[word + 2]) << 32) | kTwoOverPi[word + 3];
  const uint64_t window = (high << shift) | ((low >> 1) >> (63 - shift));
  const uint64_t rest = (low << shift) >> 32;
  const uint64_t turns = m * window + ((m * rest) >> 32);  // 2^62 is a quarter
  const uint64_t quarter = (turns + (uint64_t{1} << 61)) >> 62;
  const int64_t fraction = static_cast<int64_t>(turns - (quarter << 62));
  const double r = static_cast<double>(fraction) * 3.40612158008655459e-19;  // pi / 2^63

  const bool small = bits < 0x3f490fdbu;  // below pi / 4
  const bool negative = bits_of(x) < 0;
  Angle angle;
  angle.r = small ? static_cast<double>(x) : negative ? -r : r;
  angle.quarter = static_cast<int64_t>(small ? 0 : negative ? 0 - quarter : quarter);
  return angle;
}

// sin (quarter + 0) or cos (quarter + 1) of an angle.
ADJOINT_SCALAR float wave(double r, int64_t quarter) {
  const double r2 = r * r;
  const double odd = multiply_add(
      r * r2,
      polynomial(r2, -0.16666666666663872, 0.00833333333107020959, -0.000198412669082247961,
                 2.75559882800214152e-6, -2.48053909457660663e-8),
      r);
  const double even = multiply_add(
      r2,
      polynomial(r2, -0.499999999999999692, 0.0416666666666307475, -0.00138888888821009178,
                 0.0000248015826093365565, -2.75558525923917349e-7, 2.06652946357755621e-9),
      1.0);
  const double result = (quarter & 1) != 0 ? even : odd;
  return static_cast<float>((quarter & 2) != 0 ? -result : result);
}

ADJOINT_SCALAR float sin(float x) {
  const Angle angle = reduce_angle(x);
  const float result = x == 0.0f ? x : wave(angle.r, angle.quarter);  // keeps -0
  return x - x == 0.0f ? result : x - x;                              // NaN for infinity
}
ADJOINT_SCALAR float cos(float x) {
  const Angle angle = reduce_angle(x);
  return x - x == 0.0f ? wave(angle.r, angle.quarter + 1) : x - x;
}
ADJOINT_SCALAR double sin(double x) { return ::sin(x); }
ADJOINT_SCALAR double cos(double x) { return ::cos(x); }

}  // namespace adjoint::scalar
