// Every rule is linear in the cotangent: g(a u + b v) = a g(u) + b g(v), and g(0) is 0.
#include <gtest/gtest.h>

#include "tests/harness/case_graph.h"
#include "tests/harness/differences.h"

namespace adjoint::testing {
namespace {

class Linearity : public ::testing::TestWithParam<Run> {};

// a x + b y, element by element.
TensorList combined(oracle::Real a, const TensorList& x, oracle::Real b, const TensorList& y) {
  TensorList result = x;
  for (size_t k = 0; k < x.size(); ++k) {
    for (int64_t i = 0; i < x[k].size(); ++i) {
      result[k].values[i] = a * x[k].values[i] + b * y[k].values[i];
    }
  }
  return result;
}

TEST_P(Linearity, InTheCotangent) {
  const OpCase& op_case = *GetParam().op_case;
  const GradientGraph graph = build_gradient(op_case, DType::f64, op_case.batch);
  const TensorList inputs = sample(op_case, DType::f64, op_case.batch, 0);
  // Factors that are powers of two leave the sum's rounding alone.
  const TensorList u = random_likes(graph.cotangents, 1), v = random_likes(graph.cotangents, 2);
  const TensorList gu = gradient_results(graph, inputs, u);
  const TensorList gv = gradient_results(graph, inputs, v);
  const TensorList got = gradient_results(graph, inputs, combined(2, u, -0.5, v));
  const TensorList want = combined(2, gu, -0.5, gv);
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_TRUE(close(got[i], want[i], 1e-13, 1)) << "operand " << graph.wrt[i];
  }
  const TensorList zero = gradient_results(graph, inputs, combined(0, u, 0, v));
  for (const oracle::Tensor& g : zero) {
    for (oracle::Real value : g.values) ASSERT_EQ(value, 0);
  }
}

bool wanted(const OpCase& op_case) { return op_case.gradient; }

INSTANTIATE_TEST_SUITE_P(Ops, Linearity, ::testing::ValuesIn(runs(wanted, false)), title);

}  // namespace
}  // namespace adjoint::testing
