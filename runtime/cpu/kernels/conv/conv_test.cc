// conv2d's kernels and its gradients' against plain loops in double.
#include "ops/conv.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/cpu/kernels/kernel_tester.h"

namespace adjoint::cpu {
namespace {

struct Case {
  std::string name;
  std::vector<int64_t> x;
  std::vector<int64_t> filter;
  Conv2dAttributes attributes = {};
};

// Calls visit(x index, filter index, y index) for each product of the convolution.
template <typename Visit>
void for_products(const Case& c, const std::vector<int64_t>& y, Visit visit) {
  const Conv2dAttributes& a = c.attributes;
  const int64_t x_group = c.filter[2], y_group = c.filter[3] / a.groups;
  int64_t pad[2] = {0, 0};
  for (int i = 0; i < 2; ++i) {
    if (a.padding == Padding::explicit_) pad[i] = a.pads[2 * i];
    if (a.padding == Padding::same) {
      const int64_t extent = (c.filter[i] - 1) * a.dilation[i] + 1;
      pad[i] = std::max<int64_t>((y[1 + i] - 1) * a.stride[i] + extent - c.x[1 + i], 0) / 2;
    }
  }
  for (int64_t n = 0; n < y[0]; ++n) {
    for (int64_t i = 0; i < y[1]; ++i) {
      for (int64_t j = 0; j < y[2]; ++j) {
        for (int64_t o = 0; o < y[3]; ++o) {
          for (int64_t k = 0; k < c.filter[0]; ++k) {
            for (int64_t l = 0; l < c.filter[1]; ++l) {
              const int64_t h = i * a.stride[0] + k * a.dilation[0] - pad[0];
              const int64_t w = j * a.stride[1] + l * a.dilation[1] - pad[1];
              if (h < 0 || h >= c.x[1] || w < 0 || w >= c.x[2]) continue;
              for (int64_t m = 0; m < x_group; ++m) {
                visit(((n * c.x[1] + h) * c.x[2] + w) * c.x[3] + o / y_group * x_group + m,
                      ((k * c.filter[1] + l) * x_group + m) * c.filter[3] + o,
                      ((n * y[1] + i) * y[2] + j) * y[3] + o);
              }
            }
          }
        }
      }
    }
  }
}

// Every kernel's result; `size` is what the error may be relative to.
void expect_all_near(Value result, const std::vector<TestTensor>& operands,
                     const std::vector<double>& expected, const std::vector<double>& size,
                     double tolerance) {
  for (std::string_view kernel : kernels_for(result)) {
    SCOPED_TRACE(kernel);
    const TestTensor got = run_kernel(result, operands, kernel)[0];
    ASSERT_EQ(got.size(), std::ssize(expected));
    for (int64_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got.at(i), expected[i], tolerance * (0.1 + size[i])) << i;
    }
  }
}

void check(const Case& c, DType dtype, double tolerance) {
  SCOPED_TRACE(c.name + " " + std::string(name(dtype)));
  Block block("test");
  const Value x = block.argument("x", {dtype, Shape::of(c.x)});
  const Value filter = block.argument("filter", {dtype, Shape::of(c.filter)});
  const Value y = conv2d(x, filter, c.attributes);
  const Value dy = block.argument("dy", y.type());
  const TestTensor tx = random_tensor(x.type(), 1), tf = random_tensor(filter.type(), 2);
  const TestTensor td = random_tensor(y.type(), 3);
  std::vector<double> ey(td.size()), ex(tx.size()), ef(tf.size());
  std::vector<double> sy(td.size()), sx(tx.size()), sf(tf.size());  // root of the squares' sum
  for_products(c, td.type().dims, [&](int64_t i, int64_t k, int64_t o) {
    ey[o] += tx.at(i) * tf.at(k);
    ex[i] += td.at(o) * tf.at(k);
    ef[k] += td.at(o) * tx.at(i);
    sy[o] += std::pow(tx.at(i) * tf.at(k), 2);
    sx[i] += std::pow(td.at(o) * tf.at(k), 2);
    sf[k] += std::pow(td.at(o) * tx.at(i), 2);
  });
  for (auto* sizes : {&sy, &sx, &sf}) {
    for (double& s : *sizes) s = std::sqrt(s);
  }
  expect_all_near(y, {tx, tf}, ey, sy, tolerance);
  expect_all_near(conv2d_input_grad(dy, filter, x.shape(), c.attributes), {td, tf}, ex, sx,
                  tolerance);
  expect_all_near(conv2d_filter_grad(x, dy, filter.shape(), c.attributes), {tx, td}, ef, sf,
                  tolerance);
}

Conv2dAttributes padded(std::vector<int64_t> pads, std::vector<int64_t> stride = {1, 1}) {
  return {.stride = std::move(stride), .padding = Padding::explicit_, .pads = std::move(pads)};
}

std::vector<Case> cases() {
  const auto same = Padding::same;
  return {
      {"one pixel", {1, 1, 1, 1}, {1, 1, 1, 1}},
      {"first layer", {3, 28, 28, 1}, {5, 5, 1, 24}},
      {"second layer", {17, 12, 12, 24}, {5, 5, 24, 48}},
      {"variant", {5, 30, 26, 3}, {3, 3, 3, 7}},
      {"variant, second layer", {19, 14, 12, 7}, {3, 3, 7, 13}},
      {"pointwise", {4, 5, 6, 17}, {1, 1, 17, 70}},
      {"several panels", {2, 6, 7, 5}, {3, 2, 5, 101}},
      {"same", {4, 9, 10, 3}, {3, 3, 3, 8}, {.padding = same}},
      {"same, one channel", {2, 28, 28, 1}, {5, 5, 1, 6}, {.padding = same}},
      {"same, many channels", {2, 7, 9, 20}, {3, 5, 20, 9}, {.padding = same}},
      {"same, even filter, stride",
       {2, 9, 8, 2},
       {4, 2, 2, 5},
       {.stride = {2, 3}, .padding = same}},
      {"stride", {3, 11, 13, 4}, {3, 3, 4, 9}, {.stride = {2, 2}}},
      {"stride above filter", {2, 11, 13, 3}, {2, 1, 3, 4}, {.stride = {3, 4}}},
      {"dilation", {2, 12, 14, 3}, {3, 3, 3, 5}, {.dilation = {2, 3}}},
      {"dilation, stride, same",
       {2, 12, 14, 3},
       {3, 3, 3, 5},
       {.stride = {2, 2}, .dilation = {2, 3}, .padding = same}},
      {"uneven pads", {2, 6, 7, 3}, {3, 3, 3, 5}, padded({2, 0, 1, 3})},
      {"pads beyond the filter", {2, 4, 5, 2}, {2, 3, 2, 5}, padded({3, 4, 5, 3}, {1, 2})},
      {"groups", {3, 8, 8, 6}, {3, 3, 2, 9}, {.groups = 3}},
      {"groups, same, stride",
       {3, 8, 9, 4},
       {3, 3, 2, 6},
       {.stride = {2, 1}, .padding = same, .groups = 2}},
      {"depthwise", {3, 9, 8, 21}, {3, 3, 1, 21}, {.padding = same, .groups = 21}},
      {"depthwise, stride, dilation",
       {2, 13, 12, 16},
       {3, 2, 1, 16},
       {.stride = {2, 1}, .dilation = {1, 2}, .groups = 16}},
      {"depthwise, multiplier", {2, 6, 6, 3}, {3, 3, 1, 6}, {.groups = 3}},
      {"no images", {0, 6, 6, 3}, {3, 3, 3, 4}},
  };
}

TEST(Conv, AgreesWithPlainLoops) {
  for (const Case& c : cases()) {
    check(c, DType::f32, 1e-5);  // sums of up to 2000 products
    check(c, DType::f64, 3e-14);
  }
}

TEST(Conv, AddsInFloatWhatIsStoredIn16Bits) {
  for (const Case& c : cases()) {
    if (c.x[0] > 8) continue;
    check(c, DType::bf16, 1.0 / 64);  // a few roundings of results above `size`
    check(c, DType::f16, 1.0 / 512);
  }
}

TEST(Conv, AddsInDoubleOnDemand) {
  for (Case c : cases()) {
    c.attributes.accumulate = DType::f64;
    if (c.x[0] <= 8) check(c, DType::f32, 4e-7);
  }
}

}  // namespace
}  // namespace adjoint::cpu
