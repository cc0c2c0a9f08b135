// Target passes of the CPU: regions of elementwise ops, broadcasts and reductions, which
// "adjoint.region" runs tile by tile, and ops that have no kernel of their own.
//
//   Pipeline pipeline;
//   pipeline.add(cpu::decompose_missing_pass(cpu::standard_kernels())).add(cpu::fusion_pass());
//
//   %2 = mul(%0, 0.5)                 %2.0, %2.1 = region(%0, w) {
//   %3 = sub(w, %2)            ->       mul, sub, sum
//   %4 = sum(%3)                      }
#pragma once

#include "graph/pass.h"
#include "runtime/cpu/kernel.h"

namespace adjoint::cpu {

// Pass "fusion": gathers connected ops over one iteration shape into regions, as large as it can
// without making a cycle through other nodes. Ops are connected where one uses the other's result
// or both read the same tensor of that shape; a reduction belongs to the shape that it reduces and
// ends the region. Uniform constants and broadcasts are copied into each region that reads them. An
// op moves behind others, to the region of its only users, where that saves its result from being
// stored. For functions whose shapes are known; nodes with symbols in their shape stay.
Pass fusion_pass();

// Pass "decompose_missing": replaces nodes for which the table has no kernel by their decomposition
// into simpler ops, again and again; a node without one stays, for the planner to say.
Pass decompose_missing_pass(KernelTable table);

}  // namespace adjoint::cpu
