// The numbers of a convolution node, in either direction.
#pragma once

#include <cstdint>

#include "graph/host_device.h"
#include "runtime/kernel.h"

namespace adjoint::cuda {

// One spatial dimension of y[o] = sum over k of x[o * stride + k * dilation - pad] * filter[k].
struct ConvAxis {
  int64_t x = 0;  // sizes of x, y and the filter
  int64_t y = 0;
  int64_t filter = 0;
  int64_t stride = 1;
  int64_t dilation = 1;
  int64_t pad = 0;  // before x

  // The pixels of x and of its padding that filters see: from the first's begin to the last's end.
  int64_t span() const { return (y - 1) * stride + (filter - 1) * dilation + 1; }
};

struct ConvGeometry {
  int64_t batch = 0;
  ConvAxis axes[2] = {};  // height, width
  int64_t x_channels = 0;
  int64_t y_channels = 0;
  int64_t groups = 1;

  ADJOINT_HOST_DEVICE int64_t x_group() const { return x_channels / groups; }
  ADJOINT_HOST_DEVICE int64_t y_group() const { return y_channels / groups; }
  ADJOINT_HOST_DEVICE int64_t x_size() const { return batch * axes[0].x * axes[1].x * x_channels; }
  ADJOINT_HOST_DEVICE int64_t y_size() const { return batch * axes[0].y * axes[1].y * y_channels; }
  ADJOINT_HOST_DEVICE int64_t filter_size() const {
    return axes[0].filter * axes[1].filter * x_group() * y_channels;
  }
  double flops() const { return 2.0 * y_size() * axes[0].filter * axes[1].filter * x_group(); }
};

// Of conv2d, conv2d_input_grad and conv2d_filter_grad.
ConvGeometry geometry_of(const KernelRequest& request);
// What products are added up in.
DType accumulation_of(const KernelRequest& request);

// The convolution in a region of filter_layout.h or conv_moments.h, as a request of its own.
KernelRequest convolution_in(const KernelRequest& region);

}  // namespace adjoint::cuda
