// Gradients of gradients: of the gradient's inner product with random weights, for the operands and
// for the cotangents, against central differences of the oracle's first gradient.
#include <gtest/gtest.h>

#include "autodiff/gradients.h"
#include "graph/error.h"
#include "tests/harness/case_graph.h"
#include "tests/harness/differences.h"
#include "tests/harness/interpreter.h"

namespace adjoint::testing {
namespace {

constexpr int kSamples = 2;

class SecondOrder : public ::testing::TestWithParam<Run> {};

// Adds d<weights, gradients> / d(operands, cotangents) to the graph, as results h0, h1 ...
void differentiate_again(GradientGraph& graph) {
  Values weights, to;
  for (size_t i = 0; i < graph.gradients.size(); ++i) {
    weights.push_back(graph.function->argument("w" + std::to_string(i), graph.gradients[i].type()));
  }
  for (int i : graph.wrt) to.push_back(graph.inputs[i]);
  to.insert(to.end(), graph.cotangents.begin(), graph.cotangents.end());
  const Values second = gradients(graph.gradients, to, weights);
  for (size_t i = 0; i < second.size(); ++i) {
    graph.function->result("h" + std::to_string(i), second[i]);
  }
}

TensorList chosen(const TensorList& list, const std::vector<int>& positions) {
  TensorList result;
  for (int i : positions) result.push_back(list[i]);
  return result;
}

TEST_P(SecondOrder, AsDifferencesOfTheFirst) {
  const OpCase& op_case = *GetParam().op_case;
  const GradientGraph first = build_gradient(op_case, DType::f64, op_case.batch);
  GradientGraph second = build_gradient(op_case, DType::f64, op_case.batch);
  differentiate_again(second);
  for (int s = 0; s < kSamples; ++s) {
    SCOPED_TRACE("sample " + std::to_string(s));
    const TensorList inputs = sample(op_case, DType::f64, op_case.batch, s);
    const TensorList cotangents = random_likes(first.cotangents, s + 1);
    const TensorList weights = random_likes(first.gradients, s + 50);

    oracle::Feeds feeds = second.feeds(inputs);
    for (size_t i = 0; i < cotangents.size(); ++i) {
      feeds.emplace("u" + std::to_string(i), cotangents[i]);
    }
    for (size_t i = 0; i < weights.size(); ++i) {
      feeds.emplace("w" + std::to_string(i), weights[i]);
    }
    TensorList got = interpret(*second.function, feeds);
    got.erase(got.begin(), got.end() - (first.wrt.size() + cotangents.size()));

    // Operands and cotangents move together.
    TensorList at = inputs;
    at.insert(at.end(), cotangents.begin(), cotangents.end());
    TensorList direction = directions(op_case, inputs, s + 100);
    TensorList along = chosen(direction, first.wrt);
    for (const oracle::Tensor& u : random_likes(first.cotangents, s + 200)) {
      direction.push_back(u);
      along.push_back(u);
    }
    const oracle::Real difference = central_difference(at, direction, [&](const TensorList& moved) {
      const auto middle = moved.begin() + inputs.size();
      const TensorList x(moved.begin(), middle), u(middle, moved.end());
      return dot(oracle_gradients(first, x, u), weights);
    });
    EXPECT_TRUE(is_derivative(got, along, difference));
  }
}

bool wanted(const OpCase& op_case) { return op_case.gradient && op_case.second_order; }

INSTANTIATE_TEST_SUITE_P(Ops, SecondOrder, ::testing::ValuesIn(runs(wanted, false)), title);

}  // namespace
}  // namespace adjoint::testing
