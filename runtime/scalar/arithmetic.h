// Plain arithmetic of all element types, comparisons' helpers and conversions.
#pragma once

#include "runtime/scalar/base.h"

namespace adjoint::scalar {

template <typename T>
inline constexpr bool kIsFloat = T(0.5) != T(0);

// The type that T's arithmetic wraps in.
template <typename T>
struct Wrapping {
  using type = T;
};
template <>
struct Wrapping<int32_t> {
  using type = uint32_t;
};
template <>
struct Wrapping<int64_t> {
  using type = uint64_t;
};
template <>
struct Wrapping<uint8_t> {
  using type = uint32_t;
};

template <typename T>
ADJOINT_SCALAR T add(T a, T b) {
  using W = typename Wrapping<T>::type;
  return static_cast<T>(W(a) + W(b));
}
template <typename T>
ADJOINT_SCALAR T sub(T a, T b) {
  using W = typename Wrapping<T>::type;
  return static_cast<T>(W(a) - W(b));
}
template <typename T>
ADJOINT_SCALAR T mul(T a, T b) {
  using W = typename Wrapping<T>::type;
  return static_cast<T>(W(a) * W(b));
}
// Integers: towards zero, x / 0 = 0, the lowest number / -1 wraps to itself.
template <typename T>
ADJOINT_SCALAR T div(T a, T b) {
  if constexpr (kIsFloat<T>) {
    return a / b;
  } else {
    if (b == T(0)) return T(0);
    if (T(-1) < T(0) && b == T(-1)) return sub(T(0), a);
    return static_cast<T>(a / b);
  }
}
template <typename T>
ADJOINT_SCALAR T neg(T x) {
  if constexpr (kIsFloat<T>) {
    return -x;
  } else {
    return sub(T(0), x);
  }
}
template <typename T>
ADJOINT_SCALAR T abs(T x) {
  if constexpr (kIsFloat<T>) {
    return static_cast<T>(::fabs(x));
  } else {
    return x < T(0) ? neg(x) : x;
  }
}
// -1, 0 or 1; NaN and -0 stay themselves.
template <typename T>
ADJOINT_SCALAR T sign(T x) {
  return x > T(0) ? T(1) : x < T(0) ? T(-1) : x;
}
// The larger, the smaller; NaN if either is.
template <typename T>
ADJOINT_SCALAR T maximum(T a, T b) {
  return a > b || a != a ? a : b;
}
template <typename T>
ADJOINT_SCALAR T minimum(T a, T b) {
  return a < b || a != a ? a : b;
}
template <typename T>
ADJOINT_SCALAR T clamp(T x, T low, T high) {
  const T raised = x < low ? low : x;
  return raised > high ? high : raised;
}
ADJOINT_SCALAR float sqrt(float x) { return ::sqrtf(x); }
ADJOINT_SCALAR double sqrt(double x) { return ::sqrt(x); }
ADJOINT_SCALAR float floor(float x) { return ::floorf(x); }
ADJOINT_SCALAR double floor(double x) { return ::floor(x); }
template <typename T>
ADJOINT_SCALAR bool is_finite(T x) {
  return x - x == T(0);
}

// Limits of the integer types, as numbers that floats can hold: the first value below and the first
// above the range.
template <typename I>
inline constexpr I kLowest = I(-1) < I(0) ? I(uint64_t{1} << (8 * sizeof(I) - 1)) : I(0);
template <typename I>
inline constexpr I kHighest = I(~kLowest<I>);

// Float to integer: towards zero, saturated, NaN gives 0.
template <typename I, typename F>
ADJOINT_SCALAR I to_integer(F x) {
  constexpr F kLow = static_cast<F>(kLowest<I>);  // exact: 0 or a power of two
  // The first float above the range: 2^31, 2^63 or 256.
  constexpr F kEnd = static_cast<F>(kHighest<I> / 2 + 1) * F(2);
  const bool inside = x >= kLow && x < kEnd;
  const I value = static_cast<I>(inside ? x : F(0));
  const I outside = x >= kEnd ? kHighest<I> : x < kLow ? kLowest<I> : I(0);
  return inside ? value : outside;
}

// A double as a float, rounded to odd: where it is not exact, the last bit is set. Rounding that to
// a still shorter type gives what rounding the double would.
ADJOINT_SCALAR float to_float_odd(double x) {
  const float nearest = static_cast<float>(x);
  const double back = nearest;
  const bool exact = back == x || x != x;
  // Towards zero.
  const bool above = (x < 0.0 ? -back : back) > (x < 0.0 ? -x : x);
  const int32_t cut = bits_of(nearest) - (above ? 1 : 0);
  return exact ? nearest : from_bits(cut | 1);
}

}  // namespace adjoint::scalar
