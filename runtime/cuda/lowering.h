// The GPU's target passes in their order.
#pragma once

#include "graph/pass.h"
#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

// The passes of runtime/patterns.h with filter_layout, cse and dce between them, matmul_bias,
// widen_missing, decompose_missing, fusion, side_by_side. Both arguments must outlive the pipeline.
Pipeline lowering_pipeline(const KernelTable& kernels, Context& context);

}  // namespace adjoint::cuda
