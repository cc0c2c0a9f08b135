// Target pass of the GPU: the moments of batch norm are taken where the convolution before it is
// computed.
//
//   %0 = conv2d(x, f)                   %0 = region(x, f, s, o) { conv2d, batch_norm }
//   %1 = region(%0, s, o) {        ->       : y, mean, variance
//     batch_norm, relu                  %1 = region(%0.0, s, o, %0.1, %0.2) {
//   }   : r, mean, variance               batch_norm_inference, relu
//                                       }
//
// A kernel has the convolution's results in registers: it sums them before they are written, and
// nothing reads them once more for it. Of batch_norm only the moments are results.
#pragma once

#include <optional>

#include "graph/pass.h"
#include "runtime/cuda/takes_region.h"

namespace adjoint::cuda {

// What the first of the two regions has, whose operands are x, the filter, scale, offset and
// perhaps a bias: conv2d, a cast of y where it is stored in fewer bits, the bias's sum, batch_norm.
// Results: y, mean, variance.
struct ConvMoments {
  bool is_turned = false;  // the filter is [o,kh,kw,c] (filter_layout.h)
  bool has_bias = false;
};
// Nothing where the body is none.
std::optional<ConvMoments> conv_moments_in(const Block& body);

// Pass "conv_moments": makes two regions out of a convolution and the training region of
// runtime/patterns.h that normalises its result, where kernels take both. For functions whose
// shapes are known; behind norm_storage.
Pass conv_moments_pass(HasKernel has_kernel);

}  // namespace adjoint::cuda
