// Target pass of the GPU: filters in cuDNN's order, outside of its convolutions.
//
//   %1 = conv2d(x, filter)   ->   %0 = transpose(filter)           [kh,kw,c,o] -> [o,kh,kw,c]
//                                 %1 = region(x, %0) { transpose, conv2d }
//
// A convolution and its gradients then share one transposed filter, a gradient's way back joins the
// update that reads it, and what remains are small kernels that run side by side.
#pragma once

#include <memory>
#include <span>

#include "graph/pass.h"
#include "runtime/cuda/takes_region.h"

namespace adjoint::cuda {

// The signatures (runtime/patterns.h) of the regions that the pass makes: their filter, or its
// gradient, is [o,kh,kw,c].
inline constexpr const char* kTurnedConv = "transpose(a1);conv2d(a0,0.0)->1.0";
inline constexpr const char* kTurnedConvInputGrad = "transpose(a1);conv2d_input_grad(a0,0.0)->1.0";
inline constexpr const char* kTurnedConvFilterGrad =
    "conv2d_filter_grad(a0,a1);transpose(0.0)->1.0";

// conv2d and its gradients.
bool is_convolution(const Node& node);

// The body of the region for such a node, whose operands these are, the filter transposed.
std::shared_ptr<const Block> turned_body(const Node& node, std::span<const Value> operands);

// Pass "filter_layout": replaces conv2d and its gradients where a kernel takes their region. A
// filter that is cast is transposed before. For functions whose shapes are known; run cse behind
// it.
Pass filter_layout_pass(HasKernel has_kernel);

}  // namespace adjoint::cuda
