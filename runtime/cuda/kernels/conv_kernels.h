// What the kernels of regions that go on behind a convolution share with those of the convolution
// (conv_kernels.cc).
#pragma once

#include <span>
#include <string_view>

#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/conv_gemm.h"

namespace adjoint::cuda {

// What the names of variants end with whose sums are taken in a launch of their own.
inline constexpr std::string_view kApart = "-apart";

// In the order in which they compete, for the region of filter_layout.h: ours, cuDNN's, and again
// ours, those that come last.
std::span<const KernelDef, 3> conv_input_grad_kernels();

// What ours compute with in the region's variant; throws PlanError where there is no such one.
struct InputGradTile {
  ConvGemmMath math;
  ConvGemmRows rows;
};
InputGradTile input_grad_tile(const KernelRequest& region, const Context& context);

}  // namespace adjoint::cuda
