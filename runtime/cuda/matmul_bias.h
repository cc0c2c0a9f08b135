// Target pass of the GPU: a product and the bias that is added to it are one call of cuBLASLt.
//
//   %0 = matmul(x, w)
//   %1 = add(%0, b)     ->   %0 = region(x, w, b) { matmul, add }
//
// A relu behind them stays: what cuBLASLt's own makes of a NaN is not documented.
#pragma once

#include "graph/pass.h"
#include "runtime/cuda/takes_region.h"

namespace adjoint::cuda {

// The signature (runtime/patterns.h) of the regions that the pass makes.
inline constexpr const char* kMatmulBias = "matmul(a0,a1);add(0.0,a2)->1.0";

// Pass "matmul_bias": where nothing else uses the product and a kernel takes the region. For
// functions whose shapes are known.
Pass matmul_bias_pass(HasKernel has_kernel);

}  // namespace adjoint::cuda
