// Target passes for what a device has no kernel for: by simpler ops, or in a wider type.
//
//   pipeline.add(widen_missing_pass(has_kernel)).add(decompose_missing_pass(has_kernel));
//
//   %2 = silu(%1)         ->    %2 = sigmoid(%1)
//                               %3 = mul(%1, %2)
#pragma once

#include <functional>

#include "graph/pass.h"
#include "runtime/kernel.h"

namespace adjoint {

// Pass "decompose_missing": replaces nodes for which the device has no kernel by their
// decomposition into simpler ops, again and again; a node without one stays, for the planner to
// say. Nodes with symbols in their shapes stay.
Pass decompose_missing_pass(std::function<bool(const KernelRequest&)> has_kernel);

// Pass "widen_missing": nodes of 16-bit floats for which the device has no kernel are computed in
// f32 and rounded once.
Pass widen_missing_pass(std::function<bool(const KernelRequest&)> has_kernel);

}  // namespace adjoint
