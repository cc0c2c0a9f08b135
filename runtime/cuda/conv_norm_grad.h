// Target pass of the GPU: the sums of batch norm's gradient are taken where the convolution behind
// it computes its input's gradient.
//
//   %0 = conv2d_input_grad(dy, f)            %0 = region(dy, f, x, s, o, m, v) {
//   %1 = region(%0, x, s, o, m, v) {    ->     conv2d_input_grad, batch_norm_inference, relu,
//     batch_norm_inference, relu,              relu_grad, batch_norm_grad
//     relu_grad, batch_norm_grad             }   : dx, ds, do
//   }   : dx, ds, do
//
// A kernel has the input's gradient in registers: it takes the sums before that is written, and
// nothing reads it, and x, once more for them.
#pragma once

#include <memory>
#include <optional>

#include "graph/pass.h"
#include "runtime/cuda/takes_region.h"

namespace adjoint::cuda {

// Whether a region is one of the gradients of runtime/patterns.h, casts aside.
bool is_norm_grad(const Block& body);

// The bodies of the two that such a region joins: of dy and the filter, the input's gradient; of
// that and the other operands, a gradient of runtime/patterns.h.
struct ConvNormGrad {
  std::shared_ptr<const Block> convolution, norm;
};
// Nothing where the body is none.
std::optional<ConvNormGrad> conv_norm_grad_in(const Block& body);

// Pass "conv_norm_grad": makes one region out of a convolution's input gradient, which nothing else
// uses, and the gradient of a normalisation with relu, where a kernel takes it. For functions whose
// shapes are known; behind norm_storage.
Pass conv_norm_grad_pass(HasKernel has_kernel);

}  // namespace adjoint::cuda
