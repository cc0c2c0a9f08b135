// What convolution and pooling share: windows that slide over the two spatial dimensions of NHWC
// tensors.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "graph/op.h"

namespace adjoint {

enum class Padding {
  valid,      // none: every window lies inside
  same,       // so that the output is ceil(input / stride); of an odd total the end gets more
  explicit_,  // the numbers in `pads`: top, bottom, left, right
};
template <>
struct EnumNames<Padding> {
  static constexpr std::string_view kNames[] = {"valid", "same", "explicit"};
};

// One spatial dimension's window: `size` taps, `dilation` apart, moved by `stride`.
struct WindowAxis {
  int64_t size = 1;
  int64_t stride = 1;
  int64_t dilation = 1;
  Padding padding = Padding::valid;
  int64_t low = 0;  // for Padding::explicit_
  int64_t high = 0;

  int64_t extent() const { return (size - 1) * dilation + 1; }
};

// Zeros (or, for max pooling, nothing) before and after.
struct Pads {
  int64_t low = 0;
  int64_t high = 0;
  bool operator==(const Pads&) const = default;
};

// The padding for an input dimension. Throws GraphError where `same` with a stride above 1 meets a
// symbol: the padding would depend on its value.
Pads pads_of(const WindowAxis& axis, const Dim& input);
// floor((low + input + high - extent) / stride) + 1. Throws GraphError where the input is empty or
// smaller than the window.
Dim window_count(const WindowAxis& axis, const Dim& input);

// The two axes of an attribute struct with stride, dilation (null: ones), padding and pads. Throws
// GraphError for lists of a wrong length and for values out of range: sizes, strides and dilations
// from 1, pads from 0, all below 2^31.
std::array<WindowAxis, 2> window_axes(const std::array<Dim, 2>& size,
                                      const std::vector<int64_t>& stride,
                                      const std::vector<int64_t>* dilation, Padding padding,
                                      const std::vector<int64_t>& pads);

}  // namespace adjoint
