// Target pass of the GPU: a last layer of few classes, its softmax cross entropy, and the gradients
// of both towards what the layer reads are one launch.
//
//   %0 = region(x, w, b) { matmul, add }                  %0 = region(x, w, b, labels, dloss) {
//   %1 = softmax_cross_entropy(%0, labels)                  matmul, add,
//   %2 = softmax_cross_entropy_grad(dloss, %0, labels)  ->  softmax_cross_entropy,
//   %3 = matmul(%2, w) {tb=true}                            softmax_cross_entropy_grad, matmul
//                                                         }   : logits, loss, dlogits, dx
//
// Each row goes its way alone: where w is small, one launch should be worth more than fast products
// (not yet measured on a GPU).
#pragma once

#include "graph/pass.h"
#include "runtime/cuda/takes_region.h"

namespace adjoint::cuda {

// The signature (runtime/patterns.h) of the regions that the pass makes.
inline constexpr const char* kLinearCrossEntropy =
    "matmul(a0,a1);add(0.0,a2);softmax_cross_entropy(1.0,a3);"
    "softmax_cross_entropy_grad(a4,1.0,a3);matmul(3.0,a1)->1.0,2.0,3.0,4.0";

// Pass "linear_cross_entropy": where dloss does not come from the logits and a kernel takes the
// region. For functions whose shapes are known; behind matmul_bias.
Pass linear_cross_entropy_pass(HasKernel has_kernel);

}  // namespace adjoint::cuda
