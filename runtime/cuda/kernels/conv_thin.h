// Convolutions whose filter sees few values, such as a first layer's on images of one channel: what
// they take is the time to move their data, and the CUDA cores are fast enough. Stored in at most
// 32 bits and added in float.
#pragma once

#include <functional>

#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

// Whether the kernels below take a conv2d or conv2d_filter_grad; false for other ops.
bool is_thin(const KernelRequest& request);

KernelFacts describe_thin_conv(const KernelRequest& request, Context&);
PreparedKernel prepare_thin_conv(const KernelRequest& request, Context&);
// And the moments of y as it is stored, in f32 or bf16: x, filter, two that are not read, and
// perhaps a bias -> y, mean, variance (conv_moments.h).
size_t thin_conv_moments_workspace(const KernelRequest& convolution);
PreparedKernel prepare_thin_conv_moments(const KernelRequest& convolution);
// The same on tensor cores, floats rounded to TF32; what a block reads must fit its shared memory.
bool fits_thin_tensor_moments(const KernelRequest& convolution);
size_t thin_tensor_moments_workspace(const KernelRequest& convolution);
PreparedKernel prepare_thin_tensor_moments(const KernelRequest& convolution);
KernelFacts describe_thin_conv_filter_grad(const KernelRequest& request, Context&);
PreparedKernel prepare_thin_conv_filter_grad(const KernelRequest& request, Context&);
// The same with a dy that is nowhere: it is dx of batch norm's gradient (norm_relu.h), whose sums
// are stored. Stored in f32 or bf16 as batch norm's dy and x are; windows of 2 x 2, or pixels,
// which cover the images. It gets the call of the filter's gradient, which has x, and batch norm's.
bool fits_thin_norm_filter_grad(const KernelRequest& norm);
// On tensor cores floats are rounded to TF32, for filters that see few values.
using ThinNormFilterGrad = std::function<void(const KernelCall&, const KernelCall& norm)>;
bool fits_thin_tensor_filter_grad(const KernelRequest& filter_grad);
size_t thin_filter_grad_workspace(const KernelRequest& filter_grad, bool on_tensor_cores);
ThinNormFilterGrad prepare_thin_norm_filter_grad(const KernelRequest& filter_grad,
                                                 const KernelRequest& norm, bool on_tensor_cores);

}  // namespace adjoint::cuda
