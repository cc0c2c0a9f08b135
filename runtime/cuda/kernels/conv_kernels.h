// What regions that begin with a convolution's input gradient take of the kernels for it
// (conv_kernels.cc).
#pragma once

#include <span>

#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/conv_gemm.h"

namespace adjoint::cuda {

// In the order in which they compete, for the region of filter_layout.h: ours, cuDNN's, and again
// ours, those that come last.
std::span<const KernelDef, 3> conv_input_grad_kernels();

// What ours compute with in the region's variant; throws PlanError where there is no such one.
struct InputGradTile {
  ConvGemmMath math;
  ConvGemmRows rows;
};
InputGradTile input_grad_tile(const KernelRequest& region, const Options& options);

}  // namespace adjoint::cuda
