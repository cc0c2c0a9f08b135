// Convolutions whose filter sees few values, such as a first layer's on images of one channel: what
// they take is the time to move their data, and the CUDA cores are fast enough. Stored in at most
// 32 bits and added in float.
#pragma once

#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

// Whether the kernels below take a conv2d or conv2d_filter_grad; false for other ops.
bool is_thin(const KernelRequest& request);

KernelFacts describe_thin_conv(const KernelRequest& request, Context&);
PreparedKernel prepare_thin_conv(const KernelRequest& request, Context&);
KernelFacts describe_thin_conv_filter_grad(const KernelRequest& request, Context&);
PreparedKernel prepare_thin_conv_filter_grad(const KernelRequest& request, Context&);

}  // namespace adjoint::cuda
