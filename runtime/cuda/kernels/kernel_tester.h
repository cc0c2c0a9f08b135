// Runs single kernels on a device (the test double, in three orders of blocks), for the tests
// beside this.
//
//   Block block("test");
//   const Value x = block.argument("x", {DType::f32, {2, 3}});
//   const KernelRun run = run_kernel(table, softmax(x), {random_like(x.type(), 1)});
//   EXPECT_TRUE(agrees(run.outputs[0], want));
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "graph/block.h"
#include "runtime/cuda/kernel.h"
#include "tests/oracle/oracle.h"

namespace adjoint::cuda {

// All kernels written by hand in this folder.
KernelTable tested_kernels();

// The kernel that would be chosen for the node that `result` belongs to; null: none.
const KernelDef* kernel_for(const KernelTable& table, const Node& node, const Block& block);

struct KernelRun {
  std::vector<oracle::Tensor> outputs;
  Status status;
};

// The outputs of the node from these inputs. Outputs and workspace begin as NaN patterns. It is a
// failure if another order of blocks or a run in place gives other bits, if tickets are left, or if
// the test double finds anything.
KernelRun run_kernel(const KernelDef& kernel, const Node& node, const Block& block,
                     const std::vector<oracle::Tensor>& inputs, const std::string& variant = "");
// The same by the table's kernel for the node that `result` belongs to, as one of its variants.
KernelRun run_kernel(Value result, const std::vector<oracle::Tensor>& inputs,
                     const std::string& variant = "");
// That kernel's variants, or the one that needs no name.
std::vector<std::string> variants_of(Value result);

// Runs the node and compares with its oracle; the inputs are first rounded to their types.
::testing::AssertionResult as_the_oracle(const KernelDef& kernel, const Node& node,
                                         const Block& block, std::vector<oracle::Tensor> inputs);
// The same for random inputs from -2 to 2 (positive where `variance` is the input's position;
// integers below `limit`).
struct RandomInputs {
  int variance = -1;
  int64_t limit = 1;
  uint64_t seed = 1;
};
::testing::AssertionResult as_the_oracle(Value result, const RandomInputs& random = {});

}  // namespace adjoint::cuda
