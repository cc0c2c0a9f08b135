// ConvGeometry as the kernels of conv_gemm.h take it: in 32 bits, one group.
#pragma once

#include "runtime/cuda/kernels/conv_geometry.h"

namespace adjoint::cuda {

struct ConvSizes {
  struct Axis {
    int x, y, filter, stride, dilation, pad;
    explicit Axis(const ConvAxis& a)
        : x(static_cast<int>(a.x)),
          y(static_cast<int>(a.y)),
          filter(static_cast<int>(a.filter)),
          stride(static_cast<int>(a.stride)),
          dilation(static_cast<int>(a.dilation)),
          pad(static_cast<int>(a.pad)) {}
  };
  Axis height, width;
  int batch;
  int c, o;  // channels of x and y

  explicit ConvSizes(const ConvGeometry& g)
      : height(g.axes[0]),
        width(g.axes[1]),
        batch(static_cast<int>(g.batch)),
        c(static_cast<int>(g.x_channels)),
        o(static_cast<int>(g.y_channels)) {}

  ADJOINT_HOST_DEVICE int pixels() const { return batch * height.y * width.y; }  // of y
  ADJOINT_HOST_DEVICE int taps() const { return height.filter * width.filter; }
  ADJOINT_HOST_DEVICE int depth() const { return taps() * c; }  // of a filter of one channel of y
};

ADJOINT_HOST_DEVICE inline int tiles_of(int64_t size, int tile) {
  return static_cast<int>((size + tile - 1) / tile);
}

}  // namespace adjoint::cuda
