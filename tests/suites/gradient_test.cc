// The gradients of every case in double: the runtime's, against central differences of the oracle
// along random directions, and against the oracle's values of the same nodes.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/harness/case_graph.h"
#include "tests/harness/differences.h"
#include "tests/harness/interpreter.h"

namespace adjoint::testing {
namespace {

constexpr int kSamples = 5;

class Gradient : public ::testing::TestWithParam<Run> {};

// <cotangents, outputs> as a function of the case's operands.
oracle::Real weighted_outputs(const OpCase& op_case, const GradientGraph& graph,
                              const CaseGraph& forward, const TensorList& inputs,
                              const TensorList& cotangents) {
  const oracle::Outputs outputs = expected(op_case, forward, inputs);
  TensorList seeded;
  for (int i : graph.seeded) seeded.push_back(outputs[i]);
  return dot(seeded, cotangents);
}

TEST_P(Gradient, AsDifferences) {
  const OpCase& op_case = *GetParam().op_case;
  const CaseGraph forward = build_case(op_case, DType::f64, op_case.batch);
  const GradientGraph graph = build_gradient(op_case, DType::f64, op_case.batch);
  for (int s = 0; s < kSamples; ++s) {
    SCOPED_TRACE("sample " + std::to_string(s));
    const TensorList inputs = sample(op_case, DType::f64, op_case.batch, s);
    const TensorList cotangents = random_likes(graph.cotangents, s + 1);
    const TensorList gradients = gradient_results(graph, inputs, cotangents);
    // Only what is differentiable moves; of the rest the gradient must be nothing.
    TensorList direction = directions(op_case, inputs, s + 100);
    TensorList wrt_direction;
    for (size_t i = 0; i < graph.wrt.size(); ++i) {
      wrt_direction.push_back(direction[graph.wrt[i]]);
      if (op_case.operands[graph.wrt[i]].differentiable) continue;
      for (oracle::Real g : gradients[i].values) EXPECT_EQ(g, 0) << "operand " << graph.wrt[i];
    }
    const oracle::Real difference =
        central_difference(inputs, direction, [&](const TensorList& moved) {
          return weighted_outputs(op_case, graph, forward, moved, cotangents);
        });
    EXPECT_TRUE(is_derivative(gradients, wrt_direction, difference));
  }
}

TEST_P(Gradient, AsTheOracle) {
  const OpCase& op_case = *GetParam().op_case;
  const GradientGraph graph = build_gradient(op_case, DType::f64, op_case.batch);
  const TensorList inputs = sample(op_case, DType::f64, op_case.batch, 0);
  const TensorList cotangents = random_likes(graph.cotangents, 1);
  const TensorList got = gradient_results(graph, inputs, cotangents);
  const TensorList want = oracle_gradients(graph, inputs, cotangents);
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_TRUE(close(got[i], want[i], 1e-12, 1)) << "operand " << graph.wrt[i];
  }
}

bool wanted(const OpCase& op_case) { return op_case.gradient; }

INSTANTIATE_TEST_SUITE_P(Ops, Gradient, ::testing::ValuesIn(runs(wanted, false)), title);

}  // namespace
}  // namespace adjoint::testing
