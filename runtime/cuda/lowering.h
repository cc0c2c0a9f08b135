// The GPU's target passes in their order.
#pragma once

#include "graph/pass.h"
#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

// The passes of runtime/patterns.h, decompose_missing, fusion, and dce between them.
Pipeline lowering_pipeline(const KernelTable& kernels);

}  // namespace adjoint::cuda
