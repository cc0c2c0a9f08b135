// The table of op cases covers the standard ops, and nothing else.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "autodiff/rules.h"
#include "graph/verifier.h"
#include "ops/standard_ops.h"
#include "runtime/cpu/kernels/elementwise/micro_kernels.h"
#include "tests/harness/case_graph.h"
#include "tests/harness/interpreter.h"

namespace adjoint::testing {
namespace {

// Leaves and constants are tested in graph/, and run by every other case.
bool needs_case(const OpDef& op) { return !op.traits.leaf && op.name != "constant"; }

std::set<std::string_view> micro_kernels() {
  const std::vector<std::string_view> ops = cpu::micro_kernel_ops();
  return {ops.begin(), ops.end()};
}

TEST(Coverage, EveryOpHasACase) {
  std::set<std::string> covered;
  for (const OpCase& op_case : all_cases()) covered.insert(op_case.op);
  for (const OpDef* op : standard_ops().all()) {
    if (!needs_case(*op)) continue;
    EXPECT_TRUE(covered.contains(std::string(op->name)))
        << op->name << " has no case in tests/op_cases";
  }
}

TEST(Coverage, EveryCaseHasAnOp) {
  const OpSet ops = standard_ops();
  for (const OpCase& op_case : all_cases()) {
    const OpDef* op = ops.find(op_case.op);
    ASSERT_NE(op, nullptr) << op_case.op << " is not in its family's list of ops";
    // The case makes such a node.
    const CaseGraph graph = build_case(op_case, DType::f32, op_case.batch);
    bool found = false;
    for (size_t i = 0; i < graph.function->size(); ++i) {
      found = found || graph.function->node(static_cast<int32_t>(i)).op == op;
    }
    EXPECT_TRUE(found) << op_case.title() << " builds no " << op_case.op;
  }
}

TEST(Coverage, EveryOpHasAnOracle) {
  for (const OpDef* op : standard_ops().all()) {
    if (op->traits.leaf) continue;
    EXPECT_TRUE(oracle::functions().contains(op->name))
        << op->name << " has no function in tests/oracle";
  }
}

TEST(Coverage, EveryOpHasARule) {
  const RuleSet rules = standard_rules();
  for (const OpDef* op : standard_ops().all()) {
    // Without operands there is nothing to differentiate for; regions come after differentiation.
    if (op->max_operands == 0 || op->name == "region") continue;
    EXPECT_TRUE(rules.find(*op) != nullptr || op->decompose != nullptr)
        << op->name << " has neither a gradient rule nor a decomposition";
  }
}

// In f32, f64 and, for cases of integers and booleans, the types as written.
TEST(Coverage, EveryCaseHasKernels) {
  for (const OpCase& op_case : all_cases()) {
    for (DType dtype : {DType::f32, DType::f64}) {
      const CaseGraph graph = build_case(op_case, dtype, op_case.batch);
      EXPECT_TRUE(has_kernels(*graph.function))
          << op_case.title() << " in " << name(dtype) << ": no CPU kernel, and no decomposition";
    }
  }
}

// So that regions can hold them: a kernel of its own would stand apart from every chain.
TEST(Coverage, EveryElementwiseOpHasAMicroKernel) {
  for (const OpDef* op : standard_ops().all()) {
    if (!op->traits.elementwise || op->decompose != nullptr) continue;
    EXPECT_TRUE(micro_kernels().contains(op->name))
        << op->name << " has neither a CPU micro-kernel nor a decomposition";
  }
}

TEST(Coverage, TitlesAreUnique) {
  std::set<std::string> titles;
  for (const OpCase& op_case : all_cases()) {
    EXPECT_TRUE(titles.insert(op_case.title()).second) << op_case.title();
  }
}

}  // namespace
}  // namespace adjoint::testing
