// Convolutions by one thread for each element of the result: slow, and right for every type and
// shape, for what cuDNN does not do.
#pragma once

#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

KernelFacts describe_direct_conv(const KernelRequest& request, Context&);
PreparedKernel prepare_direct_conv(const KernelRequest& request, Context&);
PreparedKernel prepare_direct_conv_input_grad(const KernelRequest& request, Context&);
PreparedKernel prepare_direct_conv_filter_grad(const KernelRequest& request, Context&);

}  // namespace adjoint::cuda
