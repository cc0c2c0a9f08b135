// Computes single nodes on constants, through the CPU's kernels: what constant folding calls.
//
//   pipeline.add(fold_pass(cpu::evaluator(cpu::standard_kernels())));
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "graph/passes.h"
#include "runtime/cpu/kernel.h"

namespace adjoint::cpu {

// All outputs of the node, whose operands have these values, on one thread; nothing where no kernel
// computes it or the values are bad (an index out of range). Throws GraphError where an output has
// a symbol in its shape.
std::optional<std::vector<Literal>> evaluate(const Node& node, std::span<const Literal> operands,
                                             const KernelTable& table);

// For fold_pass.
Evaluator evaluator(KernelTable table);

}  // namespace adjoint::cpu
