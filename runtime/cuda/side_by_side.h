// Target pass of the GPU: kernels that do not need each other share a launch.
//
//   pipeline.add(fusion_pass(...)).add(side_by_side_pass());
//
// The updates of all variables become one kernel that way, and so do the gradients of several
// biases: each alone would keep a fraction of the device busy, for the price of a launch.
#pragma once

#include "graph/pass.h"

namespace adjoint::cuda {

// Pass "side_by_side": merges generated nodes (regions and single ops) that are equally far from
// the end of the function, the length of the longest path to a result or update; no path leads from
// one to another. Nodes that need no others run with the first such; what can fail, at most one op
// in a launch, runs before the state is written. Nodes that move many bytes stay where their
// operands are still in the cache, unless only results and updates use them. For functions whose
// shapes are known, after fusion.
Pass side_by_side_pass();

}  // namespace adjoint::cuda
