// What follows a reduction moves into its kernel: text in, text out, and the same values.
#include "runtime/cuda/reduction_tails.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graph/parser.h"
#include "graph/printer.h"
#include "graph/verifier.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/standard_ops.h"
#include "runtime/cuda/device.h"
#include "runtime/executable.h"
#include "tests/harness/gpu.h"

namespace adjoint::cuda {
namespace {

std::string run(const std::string& text) {
  Module module("m");
  module.variable("w", {DType::f32, {4}}, {});
  const Function& function = parse_function(text, module, standard_ops());
  EXPECT_EQ(to_text(function, TextMode::structural), text);
  const std::optional<Rewritten> result = reduction_tails_pass().run(function);
  if (!result) return text;
  verify(*result->function);
  return to_text(*result->function, TextMode::structural);
}

TEST(ReductionTails, AnUpdateJoinsItsGradient) {
  EXPECT_EQ(run(R"(function f(dy: f32[3,4]) {
  %0 = sum(dy) {axes=[0]} : f32[4]
  %1 = sub(w, %0) : f32[4]
  update w <- %1
}
)"),
            R"(function f(dy: f32[3,4]) {
  %0 = region(dy, w) : f32[4] {
    block(a0: f32[3,4], a1: f32[4]) {
      %0 = sum(a0) {axes=[0]} : f32[4]
      %1 = sub(a1, %0) : f32[4]
      return r0=%1
    }
  }
  update w <- %0
}
)");
}

TEST(ReductionTails, AResultOfItsOwnStays) {
  EXPECT_EQ(run(R"(function f(x: f32[3,4], y: f32[4]) {
  %0 = sum(x) {axes=[0]} : f32[4]
  %1 = mul(%0, y) : f32[4]
  %2 = exp(%0) : f32[4]
  return sum=%0, product=%1, exp=%2
}
)"),
            R"(function f(x: f32[3,4], y: f32[4]) {
  %0 = region(x, y) : f32[4], f32[4], f32[4] {
    block(a0: f32[3,4], a1: f32[4]) {
      %0 = sum(a0) {axes=[0]} : f32[4]
      %1 = mul(%0, a1) : f32[4]
      %2 = exp(%0) : f32[4]
      return r0=%0, r1=%1, r2=%2
    }
  }
  return sum=%0.0, product=%0.1, exp=%0.2
}
)");
}

TEST(ReductionTails, WhatIsNotElementwiseOverTheResultStaysApart) {
  for (const char* text : {
           R"(function f(x: f32[3,4]) {
  %0 = sum(x) {axes=[0]} : f32[4]
  %1 = sub(x, %0) : f32[3,4]
  return y=%1
}
)",
           R"(function f(x: f32[3,4]) {
  %0 = sum(x) {axes=[0]} : f32[4]
  %1 = sum(%0) : f32[]
  return y=%1
}
)",
           // What else it reads comes after the reduction.
           R"(function f(x: f32[3,4], y: f32[4]) {
  %0 = sum(x) {axes=[0]} : f32[4]
  %1 = softmax(y) : f32[4]
  %2 = add(%0, %1) : f32[4]
  return y=%2
}
)",
       }) {
    EXPECT_EQ(run(text), text);
  }
}

// What fails must come before what writes the state.
TEST(ReductionTails, UpdatesDoNotJoinWhatTheCheckNeeds) {
  const char* text = R"(function f(x: f32[3,4]) {
  %0 = sum(x) {axes=[0]} : f32[4]
  %1 = check_finite(%0) : f32[4]
  %2 = add(w, %0) : f32[4]
  update w <- %2
  return y=%1
}
)";
  EXPECT_EQ(run(text), text);
}

// It would wait for the check, and with it what needs the region's other results.
TEST(ReductionTails, UpdatesDoNotJoinWhatOthersNeed) {
  const char* text = R"(function f(x: f32[3,4]) {
  %0 = region(x) : f32[3,4], f32[4] {
    block(a0: f32[3,4]) {
      %0 = exp(a0) : f32[3,4]
      %1 = sum(a0) {axes=[0]} : f32[4]
      return r0=%0, r1=%1
    }
  }
  %1 = sub(w, %0.1) : f32[4]
  %2 = transpose(%0.0) {permutation=[1,0]} : f32[4,3]
  update w <- %1
  return y=%2
}
)";
  EXPECT_EQ(run(text), text);
}

// Where all updates share a launch, a variable that two of its parts read is not written in place.
TEST(ReductionTails, WhatReadsAVariableThatAnotherUpdatesStaysApart) {
  const char* text = R"(function f(x: f32[3,4]) {
  %0 = sum(x) {axes=[0]} : f32[4]
  %1 = mul(w, %0) : f32[4]
  %2 = neg(w) : f32[4]
  update w <- %2
  return y=%1
}
)";
  EXPECT_EQ(run(text), text);
}

// Reductions over the axes of x[6,n], with tails, of sizes with and without packs, in one block
// and in several.
class TailValues : public ::testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Sizes, TailValues, ::testing::Values(1, 7, 8, 260, 20000));

TEST_P(TailValues, AreThoseOfSeparateOps) {
  testing::GpuUnderTest gpu;
  const std::shared_ptr<Device> device = gpu.device();
  const int64_t n = GetParam();
  Module module("m");
  const Variable& w = module.variable("w", {DType::f32, {Dim(n)}}, {});
  const Variable& v = module.variable("v", {DType::f32, {6, 1}}, {});
  Function& f = module.function("f");
  const Value x = f.argument("x", {DType::f32, {6, Dim(n)}});
  const Value columns = sum(x, {0}), rows = mean(x * 2.0, {1}, true);
  f.update(w, f.read(w) - columns * 0.5);
  f.update(v, f.read(v) + rows);
  f.result("largest", max(x, {1}) * 3.0);
  f.result("columns", columns);

  std::vector<float> values(6 * n), sums(n), means(6), largest(6, -INFINITY);
  for (int64_t i = 0; i < 6 * n; ++i) {
    values[i] = static_cast<float>(i * 37 % 101) / 16;  // sums are exact
    sums[i % n] += values[i];
    means[i / n] += 2 * values[i];
    largest[i / n] = std::max(largest[i / n], values[i]);
  }
  State state(module, device);
  state.set("w", Tensor::zeros({DType::f32, {n}}));
  state.set("v", Tensor::zeros({DType::f32, {6, 1}}));
  Executable step(f, device);
  const Plan& plan = step.prepare();
  EXPECT_LE(plan.launches.size(), 2u);
  auto to_tensor = [](std::vector<int64_t> dims, const std::vector<float>& elements) {
    Tensor tensor = Tensor::zeros({DType::f32, std::move(dims)});
    std::copy(elements.begin(), elements.end(), static_cast<float*>(tensor.data()));
    return tensor;
  };
  const Tensors feeds = {{"x", to_tensor({6, n}, values)}};
  auto host = [](const Tensor& tensor) { return static_cast<const float*>(tensor.data()); };
  for (int run = 1; run <= 3; ++run) {
    const Tensor got_largest = Tensor::zeros({DType::f32, {6}});
    const Tensor got_columns = Tensor::zeros({DType::f32, {n}});
    step.run(state, feeds, {.into = {{"largest", got_largest}, {"columns", got_columns}}});
    const Tensor got_w = state.get("w"), got_v = state.get("v");
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(host(got_columns)[i], sums[i]);
      ASSERT_EQ(host(got_w)[i], -0.5f * run * sums[i]);
    }
    for (int64_t i = 0; i < 6; ++i) {
      ASSERT_EQ(host(got_largest)[i], 3 * largest[i]);
      ASSERT_NEAR(host(got_v)[i], run * means[i] / n, 1e-5 * n);
    }
  }
}

}  // namespace
}  // namespace adjoint::cuda
