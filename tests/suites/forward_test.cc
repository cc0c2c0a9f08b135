// Every case's kernels against the naive oracle, node by node, in all float types.
#include <gtest/gtest.h>

#include "tests/harness/case_graph.h"
#include "tests/harness/interpreter.h"

namespace adjoint::testing {
namespace {

class Forward : public ::testing::TestWithParam<Run> {
 protected:
  const OpCase& op_case() const { return *GetParam().op_case; }
  DType dtype() const { return GetParam().dtype; }

  void compare(int64_t batch, int sample_number) const {
    const CaseGraph graph = build_case(op_case(), dtype(), batch);
    const auto inputs = sample(op_case(), dtype(), batch, sample_number);
    const auto got = interpret(*graph.function, graph.feeds(inputs));
    const oracle::Outputs want = expected(op_case(), graph, inputs);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      // The bounds are those of single nodes; several of them in a row get a common one.
      if (op_case().oracle || op_case().op == "region") {
        EXPECT_TRUE(close(got[i], want[i], 64 * static_cast<double>(oracle::epsilon(dtype()))));
      } else {
        EXPECT_TRUE(agrees(got[i], want[i])) << "output " << i << ", sample " << sample_number;
      }
    }
  }
};

TEST_P(Forward, AsTheOracle) {
  for (int i = 0; i < 3; ++i) compare(op_case().batch, i);
}

// Enough elements for several shards, and for vector loops with a rest.
TEST_P(Forward, AsTheOracleWhenLarge) {
  const int64_t batch = large_batch(op_case(), 40000);
  if (batch > op_case().batch) compare(batch, 0);
}

INSTANTIATE_TEST_SUITE_P(Ops, Forward,
                         ::testing::ValuesIn(runs([](const OpCase&) { return true; }, true)),
                         title);

}  // namespace
}  // namespace adjoint::testing
