// Products by one thread for each element of the result: slow, and right for every type, for what
// cuBLASLt does not add up as asked (16-bit and 32-bit floats in double).
#pragma once

#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

KernelFacts describe_direct_matmul(const KernelRequest& request, Context&);
PreparedKernel prepare_direct_matmul(const KernelRequest& request, Context&);

}  // namespace adjoint::cuda
