// Target pass of the GPU: what is computed from the results of reductions, element by element, is
// computed where they end.
//
//   %4 = sum(dy) {axes=[0]}           %4 = region(dy, w) {
//   %5 = region(w, %4) {        ->      sum, mul, sub
//     mul, sub                        }
//   }
#pragma once

#include "graph/pass.h"

namespace adjoint::cuda {

// Pass "reduction_tails": an elementwise node or region that reads results of reductions of its
// own shape moves into the region of those reductions, where everything else that it reads is there
// by then. Updates, which wait for the check for bad values, keep apart from what that check or
// anything else needs. For functions whose shapes are known, after fusion.
Pass reduction_tails_pass();

}  // namespace adjoint::cuda
