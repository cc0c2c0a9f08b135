#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

KernelTable standard_kernels() {
  KernelTable table;
  for (const auto family : {copy_kernels, norm_relu_kernels, norm_kernels, softmax_kernels,
                            linear_cross_entropy_kernels, pool_kernels, scatter_kernels,
                            matmul_kernels, conv_kernels, conv_moments_kernels, norm_conv_kernels,
                            conv_norm_grad_kernels, norm_filter_grad_kernels, generated_kernels}) {
    table.add(family());
  }
  return table;
}

}  // namespace adjoint::cuda
