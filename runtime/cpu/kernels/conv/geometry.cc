#include "runtime/cpu/kernels/conv/geometry.h"

namespace adjoint::cpu {

double ConvGeometry::flops() const {
  return 2.0 * batch * axes[0].y * axes[1].y * taps() * x_group() * y_channels;
}

ConvGeometry conv_geometry(const Conv2dAttributes& attributes, const std::vector<int64_t>& x,
                           const std::vector<int64_t>& y, const std::vector<int64_t>& filter) {
  const std::array<WindowAxis, 2> windows = conv2d_axes(attributes, Shape::of(filter));
  ConvGeometry geometry{
      .batch = x[0], .x_channels = x[3], .y_channels = y[3], .groups = attributes.groups};
  for (int i = 0; i < 2; ++i) {
    geometry.axes[i] = {.x = x[1 + i],
                        .y = y[1 + i],
                        .filter = filter[i],
                        .stride = windows[i].stride,
                        .dilation = windows[i].dilation,
                        .pad = pads_of(windows[i], x[1 + i]).low};
  }
  return geometry;
}

AxisTaps forward_taps(const ConvAxis& axis) {
  AxisTaps taps(axis.y);
  for (int64_t o = 0; o < axis.y; ++o) {
    for (int64_t k = 0; k < axis.filter; ++k) {
      const int64_t source = o * axis.stride + k * axis.dilation - axis.pad;
      if (source >= 0 && source < axis.x) taps[o].push_back({k, source});
    }
  }
  return taps;
}

AxisTaps backward_taps(const ConvAxis& axis) {
  AxisTaps taps(axis.x);
  for (int64_t i = 0; i < axis.x; ++i) {
    for (int64_t k = axis.filter - 1; k >= 0; --k) {
      const int64_t place = i + axis.pad - k * axis.dilation;
      if (place < 0 || place % axis.stride != 0 || place / axis.stride >= axis.y) continue;
      taps[i].push_back({axis.filter - 1 - k, place / axis.stride});
    }
  }
  return taps;
}

}  // namespace adjoint::cpu
