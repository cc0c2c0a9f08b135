// Every case's module, with its gradients and a symbolic batch, as text and back.
#include <gtest/gtest.h>

#include "graph/parser.h"
#include "graph/printer.h"
#include "graph/verifier.h"
#include "ops/standard_ops.h"
#include "tests/harness/case_graph.h"

namespace adjoint::testing {
namespace {

class RoundTrip : public ::testing::TestWithParam<Run> {
 protected:
  CaseGraph graph() const {
    const OpCase& op_case = *GetParam().op_case;
    if (!op_case.gradient) return build_case(op_case, DType::f32, 0);
    return build_gradient(op_case, DType::f32, 0);
  }
};

TEST_P(RoundTrip, Full) {
  const CaseGraph built = graph();
  const std::string text = to_text(*built.module);
  const auto parsed = parse_module(text, standard_ops());
  verify(*parsed);
  EXPECT_EQ(to_text(*parsed), text);
  EXPECT_EQ(to_text(*parsed, TextMode::structural), to_text(*built.module, TextMode::structural));
}

TEST_P(RoundTrip, Structural) {
  const std::string text = to_text(*graph().module, TextMode::structural);
  EXPECT_EQ(text.find("@at("), std::string::npos);
  EXPECT_EQ(to_text(*parse_module(text, standard_ops()), TextMode::structural), text);
}

// The text says all that matters: the parsed function computes the same.
TEST_P(RoundTrip, SameValues) {
  const OpCase& op_case = *GetParam().op_case;
  const CaseGraph built = build_case(op_case, DType::f32, op_case.batch);
  const auto parsed = parse_module(to_text(*built.module), standard_ops());
  const oracle::Feeds feeds = built.feeds(sample(op_case, DType::f32, op_case.batch, 0));
  const oracle::Outputs got = oracle::evaluate(parsed->get_function("f"), feeds);
  const oracle::Outputs want = oracle::evaluate(*built.function, feeds);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(close(got[i], want[i], 0));
}

std::vector<Run> cases() {
  std::vector<Run> runs;
  for (const OpCase& op_case : all_cases()) runs.push_back({&op_case, DType::f32});
  return runs;
}

INSTANTIATE_TEST_SUITE_P(Ops, RoundTrip, ::testing::ValuesIn(cases()), title);

}  // namespace
}  // namespace adjoint::testing
