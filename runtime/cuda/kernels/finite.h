// The search for values that are infinite or not numbers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

// Reports a failure of the call's launch where an element of the call's output, floats of this
// type, is infinite or not a number.
void require_finite(const KernelCall& call, size_t output, const TensorType& type);

}  // namespace adjoint::cuda
