// Target pass of the GPU: the kernels of normalisation read and write bf16 themselves, and add up
// the gradient of a bias.
//
//   %0 = cast(x)                        %0 = region(x, s, o) {
//   %1 = region(%0, s, o) {        ->     cast, batch_norm, relu, cast
//     batch_norm, relu                  }
//   }
//   %2 = cast(%1.0)
//
// What is computed stays the same: the body has the casts. The kernel does them as it loads and
// stores, so that a value in f32 is neither written nor read.
#pragma once

#include "graph/pass.h"
#include "runtime/cuda/takes_region.h"

namespace adjoint::cuda {

// Pass "norm_storage": draws casts from and to bf16 into the regions of runtime/patterns.h, and the
// sum of dx to the bias's shape, where nothing else uses the value between and a kernel takes the
// region. For functions whose shapes are known; behind norm_bias, where equal casts are one.
Pass norm_storage_pass(HasKernel has_kernel);

}  // namespace adjoint::cuda
