// Target pass of the GPU: the gradient of batch norm that only a convolution's filter needs is not
// stored.
//
//   %0 = region(dy, x, s, o, m, v) {          %0 = region(images, dy, x, s, o, m, v) {
//     batch_norm_inference, relu,               batch_norm_inference, relu, relu_grad,
//     relu_grad, batch_norm_grad         ->     batch_norm_grad, conv2d_filter_grad
//   }   : dx, ds, do                          }   : df, ds, do
//   %1 = conv2d_filter_grad(images, %0.0)
//
// So it is for a first layer, whose input needs no gradient. A kernel computes dx where it adds up
// the filter's gradient.
#pragma once

#include <memory>
#include <optional>

#include "graph/pass.h"
#include "runtime/cuda/takes_region.h"

namespace adjoint::cuda {

// What such a region joins: of all operands but the first, the gradient of batch norm, by itself
// (is_norm_grad) or with the convolution behind it (conv_norm_grad.h); of the first operand and dx,
// the filter's gradient, a node of the region's body.
struct NormFilterGrad {
  std::shared_ptr<const Block> norm;
  int32_t filter_grad;
};
// Nothing where the body is none.
std::optional<NormFilterGrad> norm_filter_grad_in(const Block& body);

// Pass "norm_filter_grad": makes one region out of such a gradient and the filter's gradient that
// alone uses its dx, where a kernel takes it. For functions whose shapes are known; behind
// conv_norm_grad.
Pass norm_filter_grad_pass(HasKernel has_kernel);

}  // namespace adjoint::cuda
