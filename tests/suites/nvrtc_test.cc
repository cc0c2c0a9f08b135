// The kernel generated for every node of every op case compiles with CUDA's own run-time compiler,
// for each architecture. It takes no GPU.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "runtime/cuda/codegen/compiler.h"
#include "runtime/cuda/codegen/generate.h"
#include "runtime/plan.h"
#include "tests/harness/case_graph.h"

namespace adjoint::testing {
namespace {

std::vector<cuda::GeneratedKernel> kernels_of(const std::string& op) {
  std::vector<cuda::GeneratedKernel> kernels;
  std::set<std::string> seen;
  for (const OpCase& op_case : all_cases()) {
    if (op_case.op != op) continue;
    for (DType dtype : types_under_test(op_case)) {
      const CaseGraph graph = build_case(op_case, dtype, op_case.batch);
      for (int32_t n = 0; n < static_cast<int32_t>(graph.function->size()); ++n) {
        const Node& node = graph.function->node(n);
        if (node.op->traits.leaf || node.op == &kConstant) continue;
        const KernelRequest request = make_request(*graph.function, n);
        if (!cuda::can_generate(request)) continue;
        cuda::GeneratedKernel kernel = cuda::generate(request).kernel;
        if (seen.insert(kernel.name).second) kernels.push_back(std::move(kernel));
      }
    }
  }
  return kernels;
}

class Nvrtc : public ::testing::TestWithParam<std::string> {};

TEST_P(Nvrtc, CompilesWhatIsGenerated) {
  const std::vector<cuda::GeneratedKernel> kernels = kernels_of(GetParam());
  if (kernels.empty()) return;  // the op's kernels are written by hand
  const std::vector<char> code = cuda::compile_program(kernels, 90);
  EXPECT_GT(code.size(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Ops, Nvrtc, ::testing::ValuesIn(ops_with_cases()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace adjoint::testing
