// The GPU's target passes in their order.
#pragma once

#include "graph/pass.h"
#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

// The passes of runtime/patterns.h with dce between them, widen_missing, decompose_missing, fusion,
// side_by_side.
Pipeline lowering_pipeline(const KernelTable& kernels);

}  // namespace adjoint::cuda
