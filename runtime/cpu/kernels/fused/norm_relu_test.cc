#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "graph/module.h"
#include "graph/passes.h"
#include "ops/elementwise.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "ops/region.h"
#include "runtime/cpu/kernels/kernel_tester.h"
#include "runtime/patterns.h"

namespace adjoint::cpu {
namespace {

constexpr double kEpsilon = 1e-3;

struct Case {
  std::vector<int64_t> x;
  PoolAttributes pool;  // no window: none
};

const Case kCases[] = {
    {{3, 8, 8, 24}, {.window = {2, 2}, .stride = {2, 2}}},
    {{2, 7, 9, 5}, {.window = {2, 2}, .stride = {2, 2}}},  // a row and a column left over
    {{1, 6, 7, 17}, {.window = {3, 2}, .stride = {3, 3}}},
    {{5, 2, 2, 16}, {.window = {2, 2}, .stride = {2, 2}}},
    {{4, 9, 40, 33}, {.window = {1, 4}, .stride = {2, 4}}},
    {{130, 48}, {}},
    {{7, 3}, {}},
    {{2, 3, 5, 20}, {}},
};

// The backward of batch_norm, relu and pool by plain loops in double.
struct Expected {
  std::vector<double> y, mean, variance, dx, dscale, doffset;
};

struct Oracle {
  const Case& c;
  const TestTensor &x, &scale, &offset, &dy;
  int64_t channels = c.x.back();
  int64_t rows = x.size() / channels;

  double normal(const Expected& e, int64_t i) const {
    return (x.at(i) - e.mean[i % channels]) / std::sqrt(e.variance[i % channels] + kEpsilon);
  }
  // The window's members as indices into x for each element of y.
  std::vector<std::vector<int64_t>> windows() const {
    std::vector<std::vector<int64_t>> result;
    if (c.pool.window.empty()) {
      for (int64_t i = 0; i < x.size(); ++i) result.push_back({i});
      return result;
    }
    const int64_t h = c.x[1], w = c.x[2];
    for (int64_t n = 0; n < c.x[0]; ++n) {
      for (int64_t i = 0; i + c.pool.window[0] <= h; i += c.pool.stride[0]) {
        for (int64_t j = 0; j + c.pool.window[1] <= w; j += c.pool.stride[1]) {
          for (int64_t k = 0; k < channels; ++k) {
            result.emplace_back();
            for (int64_t p = 0; p < c.pool.window[0]; ++p) {
              for (int64_t q = 0; q < c.pool.window[1]; ++q) {
                result.back().push_back(((n * h + i + p) * w + j + q) * channels + k);
              }
            }
          }
        }
      }
    }
    return result;
  }
  Expected run() const {
    Expected e;
    e.mean.assign(channels, 0);
    e.variance.assign(channels, 0);
    for (int64_t i = 0; i < x.size(); ++i) e.mean[i % channels] += x.at(i) / rows;
    for (int64_t i = 0; i < x.size(); ++i) {
      e.variance[i % channels] += std::pow(x.at(i) - e.mean[i % channels], 2) / rows;
    }
    std::vector<double> dh(x.size());
    for (const auto& window : windows()) {
      int64_t winner = -1;
      double best = -1;
      for (int64_t i : window) {
        const double z = normal(e, i) * scale.at(i % channels) + offset.at(i % channels);
        if (std::max(z, 0.0) > best) winner = i, best = std::max(z, 0.0);
      }
      if (best > 0) dh[winner] += dy.at(e.y.size());
      e.y.push_back(best);
    }
    e.dscale.assign(channels, 0);
    e.doffset.assign(channels, 0);
    for (int64_t i = 0; i < x.size(); ++i) {
      e.doffset[i % channels] += dh[i];
      e.dscale[i % channels] += dh[i] * normal(e, i);
    }
    for (int64_t i = 0; i < x.size(); ++i) {
      const int64_t k = i % channels;
      e.dx.push_back(scale.at(k) / std::sqrt(e.variance[k] + kEpsilon) *
                     (dh[i] - e.doffset[k] / rows - normal(e, i) * e.dscale[k] / rows));
    }
    return e;
  }
};

void expect_near(const TestTensor& actual, const std::vector<double>& expected, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(actual.size(), static_cast<int64_t>(expected.size())) << what;
  for (int64_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual.at(i), expected[i], tolerance) << what << " at " << i;
  }
}

// A module whose function trains batch_norm, relu and pool; the passes make its regions.
struct Step {
  Module module{"m"};
  Function& function = module.function("f");
  Value x, scale, offset, dy;

  explicit Step(const Case& c) {
    const Dim channels(c.x.back());
    x = function.argument("x", {DType::f32, Shape::of(c.x)});
    scale = function.argument("scale", {DType::f32, {channels}});
    offset = function.argument("offset", {DType::f32, {channels}});
    const Normalized n = batch_norm(x, scale, offset, kEpsilon);
    const Value r = relu(n.y);
    const Value y = c.pool.window.empty() ? r : max_pool(r, c.pool);
    dy = function.argument("dy", y.type());
    const Value g = c.pool.window.empty() ? dy : max_pool_grad(dy, r, c.pool);
    const NormGradients d =
        batch_norm_grad(relu_grad(g, r), x, scale, n.mean, n.variance, kEpsilon);
    function.result("y", y);
    function.result("mean", n.mean);
    function.result("variance", n.variance);
    function.result("dx", d.x);
    function.result("dscale", d.scale);
    function.result("doffset", d.offset);
  }
  Pipeline::Result fused() const {
    Pipeline pipeline;
    pipeline.add(norm_relu_grad_pass()).add(dce_pass()).add(norm_relu_pass());
    return pipeline.run(function);
  }
};

class NormReluTest : public testing::TestWithParam<int> {};

TEST_P(NormReluTest, FusedTrainingEqualsLoopsInDouble) {
  const Case& c = kCases[GetParam()];
  const Step step(c);
  const auto fused = step.fused();
  Function& f = *fused.function;
  const Value forward = f.value(f.results()[0].value), backward = f.value(f.results()[3].value);
  ASSERT_EQ(forward.node().op, &kRegion);
  ASSERT_EQ(backward.node().op, &kRegion);

  const TestTensor x = random_tensor(step.x.type(), 1), dy = random_tensor(step.dy.type(), 2);
  const TestTensor scale = random_tensor(step.scale.type(), 3);  // negative ones among them
  const TestTensor offset = random_tensor(step.offset.type(), 4);
  const Expected e = Oracle{c, x, scale, offset, dy}.run();

  const auto out = run_kernel(forward, {x, scale, offset}, "adjoint.norm_relu");
  expect_near(out[0], e.y, 2e-6 * 8, "y");
  expect_near(out[1], e.mean, 1e-6, "mean");
  expect_near(out[2], e.variance, 1e-6, "variance");
  const auto grads =
      run_kernel(backward, {dy, x, scale, offset, out[1], out[2]}, "adjoint.norm_relu_grad");
  expect_near(grads[0], e.dx, 2e-5, "dx");
  expect_near(grads[1], e.dscale, 1e-4, "dscale");
  expect_near(grads[2], e.doffset, 1e-4, "doffset");
}

INSTANTIATE_TEST_SUITE_P(Shapes, NormReluTest,
                         testing::Range(0, static_cast<int>(std::size(kCases))));

TEST(NormReluTest, MeanFarFromZeroKeepsTheVariance) {
  const Case c{{1000, 3}, {}};
  const Step step(c);
  const auto fused = step.fused();
  TestTensor x = random_tensor(step.x.type(), 1);
  for (int64_t i = 0; i < x.size(); ++i) x.set(i, 4096 + std::round(x.at(i) * 64) / 64);
  const TestTensor ones = TestTensor::of(DType::f32, {3}, {1, 1, 1});
  const TestTensor dy = random_tensor(step.dy.type(), 2);
  const auto out = run_kernel(fused.function->value(fused.function->results()[0].value),
                              {x, ones, ones}, "adjoint.norm_relu");
  const Expected e = Oracle{c, x, ones, ones, dy}.run();
  expect_near(out[2], e.variance, 1e-5, "variance");
}

TEST(NormReluTest, MeanFarFromZeroKeepsResultAndGradient) {
  const Case c{{64, 3}, {}};
  const Step step(c);
  const auto fused = step.fused();
  Function& f = *fused.function;
  // Around 65536 evenly, which is then the mean in float too.
  TestTensor x = random_tensor(step.x.type(), 1);
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t row = i / 3;
    x.set(i, 65536 + (row % 2 ? 0.125 : -0.125) * (1 + row / 2));
  }
  const TestTensor scale = random_tensor(step.scale.type(), 3);
  const TestTensor offset = random_tensor(step.offset.type(), 4);
  const TestTensor dy = random_tensor(step.dy.type(), 2);
  const Expected e = Oracle{c, x, scale, offset, dy}.run();
  const auto out =
      run_kernel(f.value(f.results()[0].value), {x, scale, offset}, "adjoint.norm_relu");
  expect_near(out[0], e.y, 2e-6, "y");
  const auto grads = run_kernel(f.value(f.results()[3].value),
                                {dy, x, scale, offset, out[1], out[2]}, "adjoint.norm_relu_grad");
  expect_near(grads[0], e.dx, 2e-6, "dx");
}

TEST(NormReluTest, ANanReachesTheResult) {
  const Case c{{2, 4, 4, 3}, {.window = {2, 2}, .stride = {2, 2}}};
  const Step step(c);
  const auto fused = step.fused();
  TestTensor x = random_tensor(step.x.type(), 1);
  x.set(4, std::numeric_limits<double>::quiet_NaN());  // channel 1
  const TestTensor ones = TestTensor::of(DType::f32, {3}, {1, 1, 1});
  const auto out = run_kernel(fused.function->value(fused.function->results()[0].value),
                              {x, ones, ones}, "adjoint.norm_relu");
  for (int64_t i = 0; i < out[0].size(); ++i) EXPECT_EQ(std::isnan(out[0].at(i)), i % 3 == 1);
}

TEST(NormReluTest, ValuesUsedElsewhereAreNotFusedAway) {
  Module module("m");
  Function& f = module.function("f");
  const Value x = f.argument("x", {DType::f32, {4, 8}});
  const Value one = f.argument("one", {DType::f32, {8}});
  const Normalized n = batch_norm(x, one, one);
  f.result("relu", relu(n.y));
  f.result("sum", sum(n.y));
  EXPECT_FALSE(norm_relu_pass().run(f).has_value());
}

TEST(NormReluTest, OnlyTheGradientOfTheSameNormalisationIsFused) {
  const auto fuses = [](double epsilon, const char* name) {
    Module module("m");
    Function& f = module.function("f");
    const Value x = f.argument("x", {DType::f32, {4, 8}});
    const Value dy = f.argument("dy", {DType::f32, {4, 8}});
    const Value scale = f.argument("scale", {DType::f32, {8}});
    f.argument("other", {DType::f32, {8}});
    const Normalized n = batch_norm(x, scale, scale, kEpsilon);
    const Value dh = relu_grad(dy, relu(n.y));
    f.result("dx", batch_norm_grad(dh, x, f.find_leaf(name), n.mean, n.variance, epsilon).x);
    return norm_relu_grad_pass().run(f).has_value();
  };
  EXPECT_TRUE(fuses(kEpsilon, "scale"));
  EXPECT_FALSE(fuses(2 * kEpsilon, "scale"));
  EXPECT_FALSE(fuses(kEpsilon, "other"));
}

TEST(NormReluTest, WinnersOfAnotherValueAreNotFusedAway) {
  Module module("m");
  Function& f = module.function("f");
  const Value x = f.argument("x", {DType::f32, {1, 4, 4, 8}});
  const Value dy = f.argument("dy", {DType::f32, {1, 2, 2, 8}});
  const Value one = f.argument("one", {DType::f32, {8}});
  const Normalized n = batch_norm(x, one, one, kEpsilon);
  const Value g = max_pool_grad(dy, x, {.window = {2, 2}, .stride = {2, 2}});
  const Value dh = relu_grad(g, relu(n.y));
  f.result("dx", batch_norm_grad(dh, x, one, n.mean, n.variance, kEpsilon).x);
  const auto fused = norm_relu_grad_pass().run(f);
  ASSERT_TRUE(fused.has_value());
  const Node& region = fused->function->node(fused->function->results()[0].value);
  ASSERT_EQ(region.op, &kRegion);
  EXPECT_EQ(fused->function->node(region.operands[0]).op, &kMaxPoolGrad);
}

TEST(NormReluTest, PaddedAndOverlappingPoolsStayApart) {
  for (const PoolAttributes& pool :
       {PoolAttributes{.window = {3, 2}, .stride = {2, 2}},
        PoolAttributes{.window = {2, 3}, .stride = {2, 2}},
        PoolAttributes{.window = {2, 2}, .stride = {2, 2}, .padding = Padding::same}}) {
    const Step step({{2, 7, 7, 4}, pool});
    const auto fused = step.fused();
    EXPECT_EQ(fused.function->node(fused.function->results()[0].value).op, &kMaxPool);
  }
}

}  // namespace
}  // namespace adjoint::cpu
