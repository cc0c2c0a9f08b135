// The derivatives at kinks and other special points, as the op headers state them.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "autodiff/gradients.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "tests/oracle/oracle.h"

namespace adjoint::testing {
namespace {

using Numbers = std::vector<double>;
constexpr double kInf = std::numeric_limits<double>::infinity();

// The gradients of sum(f(...)) for vectors of f64, one operand after the other.
Numbers gradient_of(const std::function<Value(const std::vector<Value>&)>& f,
                    const std::vector<Numbers>& points) {
  Block block("kinks");
  std::vector<Value> operands;
  oracle::Feeds feeds;
  for (const Numbers& point : points) {
    const std::string name = "x" + std::to_string(operands.size());
    const auto count = static_cast<int64_t>(point.size());
    operands.push_back(block.argument(name, {DType::f64, {count}}));
    feeds[name] = {DType::f64, {count}, {point.begin(), point.end()}};
  }
  const std::vector<Value> g = gradients({f(operands)}, operands);
  for (size_t i = 0; i < g.size(); ++i) block.result("g" + std::to_string(i), g[i]);
  Numbers all;
  for (const oracle::Tensor& tensor : oracle::evaluate(block, feeds)) {
    all.insert(all.end(), tensor.values.begin(), tensor.values.end());
  }
  return all;
}

Numbers slope(Value (*f)(Located), Numbers points) {
  return gradient_of([f](const auto& x) { return f(x[0]); }, {std::move(points)});
}

Numbers slopes(Value (*f)(Located, Value), Numbers a, Numbers b) {
  return gradient_of([f](const auto& x) { return f(x[0], x[1]); }, {std::move(a), std::move(b)});
}

TEST(Kinks, OfUnaryOps) {
  EXPECT_EQ(slope(abs, {-2, 0, 3}), (Numbers{-1, 0, 1}));
  EXPECT_EQ(slope(sign, {-2, 0, 3}), (Numbers{0, 0, 0}));
  EXPECT_EQ(slope(floor, {-2, 0.5}), (Numbers{0, 0}));
  EXPECT_EQ(slope(relu, {-2, 0, 3}), (Numbers{0, 0, 1}));
  EXPECT_EQ(slope(softplus, {-kInf, 0, kInf}), (Numbers{0, 0.5, 1}));
  EXPECT_EQ(slope(sqrt, {0, 4}), (Numbers{kInf, 0.25}));
  const auto leaky = [](const auto& x) { return leaky_relu(x[0], 0.25); };
  EXPECT_EQ(gradient_of(leaky, {{-2, 0, 3}}), (Numbers{0.25, 0.25, 1}));
  // The exponential of a large positive number plays no part.
  const auto bent = [](const auto& x) { return elu(x[0], 3); };
  EXPECT_EQ(gradient_of(bent, {{-kInf, 0, 1e4, kInf}}), (Numbers{0, 3, 1, 1}));
  const auto clamped = [](const auto& x) { return clamp(x[0], -1, 1); };
  EXPECT_EQ(gradient_of(clamped, {{-2, -1, 0, 1, 2}}), (Numbers{0, 1, 1, 1, 0}));
}

TEST(Kinks, TiesAreShared) {
  EXPECT_EQ(slopes(maximum, {1, 2, 5}, {2, 2, 3}), (Numbers{0, 0.5, 1, 1, 0.5, 0}));
  EXPECT_EQ(slopes(minimum, {1, 2, 5}, {2, 2, 3}), (Numbers{1, 0.5, 0, 0, 0.5, 1}));
  const auto largest = [](const auto& x) { return max(x[0]); };
  EXPECT_EQ(gradient_of(largest, {{3, 1, 3, 3, 3}}), (Numbers{0.25, 0, 0.25, 0.25, 0.25}));
  const auto smallest = [](const auto& x) { return min(x[0]); };
  EXPECT_EQ(gradient_of(smallest, {{3, 1, 1, 3, 3}}), (Numbers{0, 0.5, 0.5, 0, 0}));
}

TEST(Kinks, OfPow) {
  // a^b for a, then for b.
  EXPECT_EQ(slopes(pow, {0, 0, 0, 3}, {0, 1, 2, 0}), (Numbers{0, 1, 0, 0, 0, 0, 0, std::log(3)}));
  EXPECT_EQ(slopes(pow, {0}, {-1})[1], 0);
  const Numbers negative = slopes(pow, {-2}, {2});
  EXPECT_EQ(negative[0], -4);
  EXPECT_TRUE(std::isnan(negative[1]));
}

TEST(Kinks, AProductsGradientIsThatOfTheOthers) {
  const auto product = [](const auto& x) { return prod(x[0]); };
  EXPECT_EQ(gradient_of(product, {{2, 4, 8}}), (Numbers{32, 16, 8}));
  EXPECT_EQ(gradient_of(product, {{2, 0, 8}}), (Numbers{0, 16, 0}));
  EXPECT_EQ(gradient_of(product, {{2, 0, 0}}), (Numbers{0, 0, 0}));
}

TEST(Kinks, NaNIsNotHidden) {
  const double nan = std::nan("");
  EXPECT_TRUE(std::isnan(slope(exp, {nan})[0]));
  EXPECT_TRUE(std::isnan(slope(tanh, {nan})[0]));
  const auto largest = [](const auto& x) { return max(x[0]); };
  EXPECT_TRUE(std::isnan(gradient_of(largest, {{1, nan}})[0]));
}

}  // namespace
}  // namespace adjoint::testing
