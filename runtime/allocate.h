// Memory of a device, with errors that say what it was wanted for.
//
//   Tensor weights = allocate(*device, "variable 'weights'", {DType::f32, {784, 10}});
//   Tensor arena = allocate_arena(*device, plan);
#pragma once

#include <string>

#include "runtime/device.h"
#include "runtime/plan.h"

namespace adjoint {

// device.allocate(type); its OutOfMemory is thrown anew with `what` and the type in front.
Tensor allocate(Device& device, const std::string& what, const TensorType& type);

// The plan's arena. Its OutOfMemory lists the largest values in it at the time when they take most,
// with the ops that make them and the user's lines.
Tensor allocate_arena(Device& device, const Plan& plan);

}  // namespace adjoint
