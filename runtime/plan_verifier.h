// Proves that a plan computes its function: follows every byte through the launches.
//
//   verify_plan(plan, *device);    // throws PlanError "plan of 'train': launch 4 (%7 = add): ..."
//
// It knows the function, what the kernels say of themselves, and nothing of how plans are made. It
// holds a model of the memory in which each range remembers which value it holds, who wrote it and
// who read it, and runs the launches over it. A plan passes where
//   - every launch reads exactly the values that its node's operands are, and all that it reads or
//     overwrites has been ordered before it (by its stream or by waits);
//   - no output or workspace overlaps another, nor an input but as the kernel allows in place;
//   - at the end every result and every variable holds its value, and nothing else was written;
//   - no kernel that can fail may run when a variable has been written;
//   - buffers are large enough, within their storage and aligned, and the recorded lifetimes true.
#pragma once

#include "runtime/device.h"
#include "runtime/plan.h"

namespace adjoint {

// Throws PlanError, saying what the first fault is and where.
void verify_plan(const Plan& plan, const Device& device);

}  // namespace adjoint
