#include "tests/harness/differences.h"

#include <cmath>

#include "tests/harness/interpreter.h"

namespace adjoint::testing {
namespace {

oracle::Feeds all_feeds(const GradientGraph& graph, const TensorList& inputs,
                        const TensorList& cotangents) {
  oracle::Feeds feeds = graph.feeds(inputs);
  for (size_t i = 0; i < cotangents.size(); ++i) {
    feeds.emplace("u" + std::to_string(i), cotangents[i]);
  }
  return feeds;
}

// The last results are the gradients.
TensorList last(TensorList results, size_t n) { return {results.end() - n, results.end()}; }

}  // namespace

TensorList random_likes(const Values& values, uint64_t seed) {
  TensorList list;
  for (Value value : values) list.push_back(random_like(value.type(), seed + 31 * list.size()));
  return list;
}

TensorList directions(const OpCase& op_case, const TensorList& inputs, uint64_t seed) {
  TensorList list;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Type type{inputs[i].dtype, Shape::of(inputs[i].dims)};
    const bool moves = is_float(type.dtype) && op_case.operands[i].differentiable;
    list.push_back(moves ? random_like(type, seed + 31 * i)
                         : oracle::filled(type.dtype, inputs[i].dims, 0));
  }
  return list;
}

TensorList gradient_results(const GradientGraph& graph, const TensorList& inputs,
                            const TensorList& cotangents) {
  const oracle::Feeds feeds = all_feeds(graph, inputs, cotangents);
  return last(interpret(*graph.function, feeds), graph.gradients.size());
}

TensorList oracle_gradients(const GradientGraph& graph, const TensorList& inputs,
                            const TensorList& cotangents) {
  const oracle::Feeds feeds = all_feeds(graph, inputs, cotangents);
  return last(oracle::evaluate(*graph.function, feeds), graph.gradients.size());
}

::testing::AssertionResult is_derivative(const TensorList& gradients, const TensorList& direction,
                                         oracle::Real difference) {
  oracle::Real magnitude = 0;
  for (size_t k = 0; k < gradients.size(); ++k) {
    for (int64_t i = 0; i < gradients[k].size(); ++i) {
      magnitude += std::fabs(gradients[k].values[i] * direction[k].values[i]);
    }
  }
  const oracle::Real derivative = dot(gradients, direction);
  const oracle::Real error = std::fabs(derivative - difference);
  if (error <= 1e-8 + 1e-6 * magnitude) return ::testing::AssertionSuccess();
  ::testing::AssertionResult failure = ::testing::AssertionFailure();
  failure << "the gradient says " << derivative << ", the difference " << difference;
  for (const oracle::Tensor& gradient : gradients) failure << "\n" << oracle::to_text(gradient);
  return failure;
}

}  // namespace adjoint::testing
