// One spatial dimension of a convolution or a pooling, in numbers.
#pragma once

#include <cstdint>

#include "ops/window.h"

namespace adjoint::oracle {

struct Sliding {
  int64_t input = 0;
  int64_t size = 1;
  int64_t stride = 1;
  int64_t dilation = 1;
  int64_t before = 0;  // padding
  int64_t output = 0;

  // Where tap `tap` of window `at` reads; outside 0 .. input - 1 it is padding.
  int64_t place(int64_t at, int64_t tap) const { return at * stride + tap * dilation - before; }
  bool inside(int64_t at, int64_t tap) const {
    return place(at, tap) >= 0 && place(at, tap) < input;
  }
};

// `axis` is 0 for the height, 1 for the width; `A` has stride, padding and pads.
template <typename A>
Sliding sliding(const A& a, int axis, int64_t input, int64_t size, int64_t dilation) {
  Sliding s{input, size, a.stride[axis], dilation};
  const int64_t reach = (size - 1) * dilation + 1;
  int64_t after = 0;
  if (a.padding == Padding::same) {
    // As many windows as strides begin in the input; the odd cell goes to the end.
    int64_t windows = 0;
    for (int64_t i = 0; i < input; i += s.stride) ++windows;
    const int64_t missing = (windows - 1) * s.stride + reach - input;
    s.before = missing > 0 ? missing / 2 : 0;
    after = missing > 0 ? missing - s.before : 0;
  } else if (a.padding == Padding::explicit_) {
    s.before = a.pads[2 * axis];
    after = a.pads[2 * axis + 1];
  }
  for (int64_t i = 0; i + reach <= s.before + input + after; i += s.stride) ++s.output;
  return s;
}

}  // namespace adjoint::oracle
