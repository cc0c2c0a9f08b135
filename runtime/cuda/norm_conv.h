// Target pass of the GPU: what a convolution reads of batch norm's result is computed on the way
// in.
//
//   %0 = region(x, s, o, m, v) {               %0 = region(x, s, o, m, v, f, s2, o2) {
//     batch_norm_inference, relu, max_pool  ->   batch_norm_inference, relu, max_pool,
//   }   : r                                      conv2d, batch_norm
//   %1 = region(%0, f, s2, o2) {               }   : r, y, mean, variance
//     conv2d, batch_norm
//   }   : y, mean, variance
//
// A kernel normalises an image into shared memory, where the convolution reads it, and stores it
// for others: a launch less.
#pragma once

#include <memory>
#include <optional>

#include "graph/pass.h"
#include "runtime/cuda/takes_region.h"

namespace adjoint::cuda {

// What such a region joins: of the first operands, batch norm with given moments, relu and perhaps
// a bias and a pool (runtime/patterns.h); of that and the other operands, a region of
// conv_moments.h.
struct NormConv {
  std::shared_ptr<const Block> norm, convolution;
};
// Nothing where the body is none.
std::optional<NormConv> norm_conv_in(const Block& body);

// Pass "norm_conv": makes one region out of such a normalisation and the first convolution that
// uses its result, where a kernel takes it. For functions whose shapes are known; behind
// conv_moments.
Pass norm_conv_pass(HasKernel has_kernel);

}  // namespace adjoint::cuda
