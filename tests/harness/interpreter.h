// Runs a function on the CPU node by node, without plan, arena or passes: what optimised and
// planned runs are compared with.
//
//   std::vector<oracle::Tensor> y = interpret(function, {{"x", x}}, threads);
#pragma once

#include <vector>

#include "graph/block.h"
#include "runtime/cpu/threads.h"
#include "runtime/tensor.h"
#include "tests/oracle/oracle.h"

namespace adjoint::testing {

Tensor to_runtime(const oracle::Tensor& tensor);
oracle::Tensor from_runtime(const Tensor& tensor);

// The results of the block, in order. A node without a kernel runs through its decomposition;
// without that either, PlanError. Outputs and workspace begin as NaN patterns, with a guard behind
// them that must stay (std::logic_error).
std::vector<Tensor> interpret(const Block& block, const Tensors& feeds, cpu::Threads& threads);
// The same for oracle tensors, with one thread.
std::vector<oracle::Tensor> interpret(const Block& block, const oracle::Feeds& feeds);

// Whether kernels or decompositions exist for every node.
bool has_kernels(const Block& block);

}  // namespace adjoint::testing
