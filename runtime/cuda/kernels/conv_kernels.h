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
// And of those whose rows of tiles are resident (ConvGemmRows).
inline constexpr std::string_view kResident = "-resident";

inline std::string_view without(std::string_view suffix, std::string_view variant) {
  if (variant.ends_with(suffix)) variant.remove_suffix(suffix.size());
  return variant;
}

// In the order in which they compete, for regions of filter_layout.h: ours, cuDNN's, and again
// ours, those that come last. But for `supports`, they take regions with more behind, too.
std::span<const KernelDef, 3> conv_forward_kernels();
std::span<const KernelDef, 3> conv_input_grad_kernels();
// The same for regions of conv_moments.h whose filter is turned.
std::span<const KernelDef, 3> turned_conv_moments_kernels();

// Whether ours take a convolution.
bool is_for_gemm_forward(const KernelRequest& convolution);

// What ours compute with in the region's variant; throws PlanError where there is no such one.
struct GemmTileKind {
  ConvGemmMath math;
  ConvGemmRows rows;
};
GemmTileKind forward_tile(const KernelRequest& region, const Context& context);
GemmTileKind input_grad_tile(const KernelRequest& region, const Context& context);

// What ours get for a region of conv_moments.h.
ConvGemmCall moments_call(const KernelCall& call);

}  // namespace adjoint::cuda
