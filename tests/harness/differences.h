// Derivatives by central differences, and the gradients they are compared with.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "tests/harness/case_graph.h"

namespace adjoint::testing {

using TensorList = std::vector<oracle::Tensor>;

// Random cotangents of these types.
TensorList random_likes(const Values& values, uint64_t seed);
// A random direction for the differentiable float operands, zeros for the others.
TensorList directions(const OpCase& op_case, const TensorList& inputs, uint64_t seed);

// The gradients (results g0, g1 ...) by the runtime in double, and by the oracle.
TensorList gradient_results(const GradientGraph& graph, const TensorList& inputs,
                            const TensorList& cotangents);
TensorList oracle_gradients(const GradientGraph& graph, const TensorList& inputs,
                            const TensorList& cotangents);

// (f(x + h v) - f(x - h v)) / 2h. Long doubles leave of h^2 f''' and of rounding about 1e-12.
inline constexpr double kStep = 1e-6;
template <typename F>
oracle::Real central_difference(const TensorList& at, const TensorList& direction, F&& f) {
  auto moved = [&](oracle::Real step) {
    TensorList x = at;
    for (size_t k = 0; k < x.size(); ++k) {
      for (int64_t i = 0; i < x[k].size(); ++i) x[k].values[i] += step * direction[k].values[i];
    }
    return f(x);
  };
  return (moved(kStep) - moved(-kStep)) / (2 * oracle::Real(kStep));
}

// Whether <gradients, direction> is the difference: to 1e-8, or 1e-6 of the sum of the products'
// magnitudes.
::testing::AssertionResult is_derivative(const TensorList& gradients, const TensorList& direction,
                                         oracle::Real difference);

}  // namespace adjoint::testing
