// The numbers of a convolution, and which taps of the filter meet which pixels.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "ops/conv.h"
#include "runtime/kernel.h"

namespace adjoint::cpu {

// One spatial dimension of y[o] = sum over k of x[o * stride + k * dilation - pad] * filter[k].
struct ConvAxis {
  int64_t x = 0;  // sizes of x, y and the filter
  int64_t y = 0;
  int64_t filter = 0;
  int64_t stride = 1;
  int64_t dilation = 1;
  int64_t pad = 0;  // before x
};

struct ConvGeometry {
  int64_t batch = 0;
  std::array<ConvAxis, 2> axes = {};  // height, width
  int64_t x_channels = 0;
  int64_t y_channels = 0;
  int64_t groups = 1;

  int64_t x_group() const { return x_channels / groups; }
  int64_t y_group() const { return y_channels / groups; }
  int64_t taps() const { return axes[0].filter * axes[1].filter; }
  bool is_depthwise() const { return groups > 1 && x_group() == 1 && y_group() == 1; }
  double flops() const;
};

// For NHWC dimensions of x and y and a filter [kh,kw,c_in/groups,c_out].
ConvGeometry conv_geometry(const Conv2dAttributes& attributes, const std::vector<int64_t>& x,
                           const std::vector<int64_t>& y, const std::vector<int64_t>& filter);

// A tap of the filter and the pixel that it meets.
struct Tap {
  int64_t tap;
  int64_t source;
};
// For each output coordinate its taps, in order.
using AxisTaps = std::vector<std::vector<Tap>>;

// y's taps: pixels of x.
AxisTaps forward_taps(const ConvAxis& axis);
// x's taps: pixels of y; taps are counted from the filter's end, so that sources ascend.
AxisTaps backward_taps(const ConvAxis& axis);

}  // namespace adjoint::cpu
