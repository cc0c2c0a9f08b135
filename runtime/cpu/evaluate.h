// Computes single nodes on constants, through the CPU's kernels: what constant folding calls.
//
//   const KernelTable table = standard_kernels();
//   std::vector<Literal> values = evaluate(node, operands, table);
#pragma once

#include <span>
#include <vector>

#include "graph/block.h"
#include "runtime/cpu/kernel.h"

namespace adjoint::cpu {

// All outputs of the node, whose operands have these values; none where no kernel computes it.
// `threads` may be null (one thread). Throws DataError as the kernel does, GraphError where a type
// has symbols or differs from the operand's.
std::vector<Literal> evaluate(const Node& node, std::span<const Literal> operands,
                              const KernelTable& table, Threads* threads = nullptr);

}  // namespace adjoint::cpu
