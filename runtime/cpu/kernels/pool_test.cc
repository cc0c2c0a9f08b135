// The kernels of pooling and of its gradients against plain loops.
#include "ops/pool.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "runtime/cpu/kernels/kernel_tester.h"

namespace adjoint::cpu {
namespace {

struct Case {
  std::string name;
  std::vector<int64_t> x;
  PoolAttributes attributes;
};

std::vector<Case> cases() {
  const auto same = Padding::same;
  return {
      {"halves", {3, 24, 24, 24}, {{2, 2}, {2, 2}}},
      {"odd size", {2, 7, 9, 13}, {{2, 2}, {2, 2}}},
      {"one channel", {2, 8, 6, 1}, {{2, 3}, {2, 3}}},
      {"overlap", {2, 9, 8, 5}, {{3, 3}, {2, 1}}},
      {"gaps", {2, 9, 8, 17}, {{1, 2}, {3, 3}}},
      {"same", {2, 7, 7, 4}, {{3, 3}, {2, 2}, same}},
      {"same, stride 1", {1, 5, 6, 33}, {{2, 4}, {1, 1}, same}},
      {"uneven pads", {2, 6, 5, 3}, {{3, 3}, {2, 2}, Padding::explicit_, {0, 2, 1, 1}}},
      {"whole image", {4, 5, 5, 100}, {{5, 5}, {1, 1}}},
      {"many images", {70, 6, 6, 20}, {{2, 2}, {2, 2}}},
      {"no images", {0, 6, 6, 20}, {{2, 2}, {2, 2}}},
  };
}

// Calls visit(output index, elements of the window in row-major order) for each output.
template <typename Visit>
void for_windows(const Case& c, const std::vector<int64_t>& y, Visit visit) {
  const PoolAttributes& a = c.attributes;
  int64_t pad[2] = {0, 0};
  for (int i = 0; i < 2; ++i) {
    if (a.padding == Padding::explicit_) pad[i] = a.pads[2 * i];
    if (a.padding == Padding::same) {
      const int64_t total = (y[1 + i] - 1) * a.stride[i] + a.window[i] - c.x[1 + i];
      pad[i] = std::max<int64_t>(total, 0) / 2;
    }
  }
  for (int64_t index = 0; index < y[0] * y[1] * y[2] * y[3]; ++index) {
    const int64_t channel = index % y[3], column = index / y[3] % y[2];
    const int64_t row = index / y[3] / y[2] % y[1], image = index / y[3] / y[2] / y[1];
    std::vector<int64_t> window;
    for (int64_t k = 0; k < a.window[0]; ++k) {
      for (int64_t l = 0; l < a.window[1]; ++l) {
        const int64_t h = row * a.stride[0] + k - pad[0], w = column * a.stride[1] + l - pad[1];
        if (h < 0 || h >= c.x[1] || w < 0 || w >= c.x[2]) continue;
        window.push_back(((image * c.x[1] + h) * c.x[2] + w) * c.x[3] + channel);
      }
    }
    visit(index, window);
  }
}

int64_t winner_of(const TestTensor& x, const std::vector<int64_t>& window) {
  int64_t best = window[0];
  for (int64_t i : window) {
    if (x.at(i) > x.at(best) || (std::isnan(x.at(i)) && !std::isnan(x.at(best)))) best = i;
  }
  return best;
}

void expect_equal(const TestTensor& got, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(got.size(), std::ssize(expected));
  for (int64_t i = 0; i < got.size(); ++i) {
    if (std::isinf(expected[i])) {
      ASSERT_EQ(got.at(i), expected[i]) << i;
    } else if (std::isnan(expected[i])) {
      ASSERT_TRUE(std::isnan(got.at(i))) << i;
    } else {
      ASSERT_NEAR(got.at(i), expected[i], tolerance * (1 + std::abs(expected[i]))) << i;
    }
  }
}

void check_max(const Case& c, Value x, const TestTensor& in, double tolerance) {
  Block& block = x.block();
  const Value y = max_pool(x, c.attributes);
  const Value g = block.argument("g", x.type()), dy = block.argument("dy", y.type());
  const TestTensor tg = random_tensor(g.type(), 2), td = random_tensor(dy.type(), 3);
  std::vector<double> expected(td.size()), picked(td.size()), dx(in.size());
  for_windows(c, td.type().dims, [&](int64_t i, const std::vector<int64_t>& window) {
    const int64_t winner = winner_of(in, window);
    expected[i] = in.at(winner);
    picked[i] = tg.at(winner);
    dx[winner] += td.at(i);
  });
  expect_equal(run_kernel(y, {in})[0], expected, 0);
  expect_equal(run_kernel(max_pool_pick(g, x, c.attributes), {tg, in})[0], picked, 0);
  expect_equal(run_kernel(max_pool_grad(dy, x, c.attributes), {td, in})[0], dx, tolerance);
}

void check_average(const Case& c, Value x, const TestTensor& in, bool include_pad,
                   double tolerance) {
  Block& block = x.block();
  const Value y = avg_pool(x, c.attributes, include_pad);
  const Value dy = block.argument(include_pad ? "dy1" : "dy0", y.type());
  const TestTensor td = random_tensor(dy.type(), 4);
  std::vector<double> expected(td.size()), dx(in.size());
  for_windows(c, td.type().dims, [&](int64_t i, const std::vector<int64_t>& window) {
    const double count =
        include_pad ? c.attributes.window[0] * c.attributes.window[1] : window.size();
    for (int64_t k : window) {
      expected[i] += in.at(k) / count;
      dx[k] += td.at(i) / count;
    }
  });
  expect_equal(run_kernel(y, {in})[0], expected, tolerance);
  expect_equal(run_kernel(avg_pool_grad(dy, x.shape(), c.attributes, include_pad), {td})[0], dx,
               tolerance);
}

double tolerance_of(DType dtype) {
  return dtype == DType::f64   ? 1e-14
         : dtype == DType::f32 ? 1e-6
         : dtype == DType::f16 ? 1.0 / 2048
                               : 1.0 / 256;
}

TEST(Pool, AgreesWithPlainLoops) {
  for (const Case& c : cases()) {
    for (DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
      SCOPED_TRACE(c.name + " " + std::string(name(dtype)));
      Block block("test");
      const Value x = block.argument("x", {dtype, Shape::of(c.x)});
      const TestTensor in = random_tensor(x.type(), 1);
      check_max(c, x, in, tolerance_of(dtype));
      check_average(c, x, in, false, tolerance_of(dtype));
      check_average(c, x, in, true, tolerance_of(dtype));
    }
  }
}

TEST(Pool, TheFirstOfEqualsWinsAndNaNWins) {
  const double inf = std::numeric_limits<double>::infinity();
  const double values[] = {0, 1, -inf, NAN};
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    for (DType dtype : {DType::f32, DType::f64}) {
      Block block("test");
      const Value x = block.argument("x", {dtype, Shape::of(c.x)});
      TestTensor in = random_integers({DType::i64, x.shape()}, 4, 5);
      TestTensor special(concrete(x.type()));
      for (int64_t i = 0; i < in.size(); ++i) {
        special.set(i, values[static_cast<int64_t>(in.at(i))]);
      }
      check_max(c, x, special, tolerance_of(dtype));
    }
  }
}

}  // namespace
}  // namespace adjoint::cpu
