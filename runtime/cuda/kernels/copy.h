// The copy that a step ends with where a kernel cannot write a variable itself.
//
//   guarded_copy(call, bytes);   // call.outputs[0] becomes call.inputs[0], unless the guard is set
#pragma once

#include <cstddef>

#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

// Buffers do not overlap. Without a guard it is a plain copy.
void guarded_copy(const KernelCall& call, size_t bytes);

}  // namespace adjoint::cuda
