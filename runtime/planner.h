// Makes the plan of a function for a device and concrete dimensions.
//
//   Plan plan = make_plan(module.get_function("train"), {{"batch", 128}}, *device);
//
// What it decides, in this order: concrete shapes; the device's target passes; a kernel for each
// node that a result or an update needs; the order (nodes that kernels which can fail depend on
// come first, so that no such kernel runs after the first write to a variable); which updates are
// written straight into their variable; streams and waits (runtime/plan_streams.h); which values
// share memory (aliases, kernels that may work in place); offsets in the arena. Linear in the
// number of nodes but for the sorting of launches and buffers.
#pragma once

#include "runtime/device.h"
#include "runtime/plan.h"

namespace adjoint {

struct PlanOptions {
  // Kernels to be used where a request is among them (see kernel_choices).
  KernelChoices kernels = {};
};

// Throws PlanError: symbols without a value; all nodes for which the device has no kernel, in one
// message, with op, types and the user's line; a recorded kernel that the device lacks. Throws
// GraphError where an op refuses the concrete shapes, or bytes overflow.
// The function's module must outlive the plan.
Plan make_plan(const Function& function, const DimBindings& bindings, const Device& device,
               const PlanOptions& options = {});

}  // namespace adjoint
