// What tests of convolutions share: cases, and every kernel against plain loops in double.
//
//   check(tester, {"same", {2, 5, 6, 3}, {3, 3, 3, 4}, {.padding = Padding::same}}, DType::f32,
//   {3e-6});
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ops/conv.h"
#include "ops/region.h"
#include "runtime/cuda/filter_layout.h"
#include "runtime/cuda/kernels/library_tester.h"

namespace adjoint::cuda {

using Dims = std::vector<int64_t>;
using Values = std::vector<double>;

struct Case {
  std::string name;
  Dims x;
  Dims filter;
  Conv2dAttributes attributes = {};
};

inline int64_t pad_before(const Case& c, const Dims& y, int axis) {
  const Conv2dAttributes& a = c.attributes;
  if (a.padding == Padding::explicit_) return a.pads[2 * axis];
  if (a.padding == Padding::valid) return 0;
  const int64_t extent = (c.filter[axis] - 1) * a.dilation[axis] + 1;
  return std::max<int64_t>((y[1 + axis] - 1) * a.stride[axis] + extent - c.x[1 + axis], 0) / 2;
}

// Calls visit(x index, filter index, y index) for each product of the convolution.
template <typename Visit>
inline void for_products(const Case& c, const Dims& y, Visit visit) {
  const Conv2dAttributes& a = c.attributes;
  const int64_t x_group = c.filter[2], y_group = c.filter[3] / a.groups;
  const int64_t pad[] = {pad_before(c, y, 0), pad_before(c, y, 1)};
  for (int64_t pixel = 0; pixel < y[0] * y[1] * y[2]; ++pixel) {
    const int64_t n = pixel / (y[1] * y[2]), i = pixel / y[2] % y[1], j = pixel % y[2];
    for (int64_t tap = 0; tap < c.filter[0] * c.filter[1]; ++tap) {
      const int64_t h = i * a.stride[0] + tap / c.filter[1] * a.dilation[0] - pad[0];
      const int64_t w = j * a.stride[1] + tap % c.filter[1] * a.dilation[1] - pad[1];
      if (h < 0 || h >= c.x[1] || w < 0 || w >= c.x[2]) continue;
      for (int64_t o = 0; o < y[3]; ++o) {
        for (int64_t m = 0; m < x_group; ++m) {
          visit(((n * c.x[1] + h) * c.x[2] + w) * c.x[3] + o / y_group * x_group + m,
                (tap * x_group + m) * c.filter[3] + o, pixel * y[3] + o);
        }
      }
    }
  }
}

// The error of a sum may be relative to the root of its terms' squares, and to the sum itself where
// its terms err to one side.
struct Tolerance {
  double random = 0;
  double bias = 0;
};

// Of convolutions by themselves and with moments.
inline std::span<const KernelDef> convolution_kernels() {
  static const std::vector<KernelDef> all = [] {
    std::vector<KernelDef> kernels(conv_kernels().begin(), conv_kernels().end());
    kernels.insert(kernels.end(), conv_moments_kernels().begin(), conv_moments_kernels().end());
    return kernels;
  }();
  return all;
}

// Every kernel, with every variant, against `want`; `size` is the terms' squares.
inline void expect_all_near(LibraryTester& tester, Value result, const std::vector<Values>& inputs,
                            const Values& want, const Values& size, const Tolerance& tolerance) {
  for (const KernelDef* kernel : kernels_for(conv_kernels(), result)) {
    for (const std::string& variant : tester.variants(*kernel, result)) {
      SCOPED_TRACE(std::string(kernel->name) + "#" + variant);
      const Values got = tester.run(*kernel, result, inputs, variant);
      ASSERT_EQ(got.size(), want.size());
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(
            got[i], want[i],
            tolerance.random * (0.1 + std::sqrt(size[i])) + tolerance.bias * std::abs(want[i]))
            << i;
      }
    }
  }
}

// As a matrix [rows,columns], transposed.
inline Values transposed(const Values& matrix, int64_t columns) {
  Values result;
  for (int64_t c = 0; c < columns; ++c) {
    for (size_t i = c; i < matrix.size(); i += columns) result.push_back(matrix[i]);
  }
  return result;
}

// The region that filter_layout makes of a convolution.
inline Value turned(Value convolution) {
  const Node& node = convolution.node();
  Block& block = convolution.block();
  std::vector<Value> operands;
  for (ValueId operand : node.operands) operands.push_back(block.value(operand));
  if (node.op != &kConv2dFilterGrad) {
    const Dims f = operands[1].shape().static_dims();
    operands[1] = block.argument("turned" + std::to_string(block.size()),
                                 {operands[1].dtype(), Shape{f[3], f[0], f[1], f[2]}});
  }
  return region(block, operands, turned_body(node, operands));
}

// Without the gradient of x where the case is not about it.
inline void check(LibraryTester& tester, const Case& c, DType dtype, const Tolerance& tolerance,
                  bool with_input_grad = true) {
  SCOPED_TRACE(c.name + " " + std::string(name(dtype)));
  Block block("test");
  const Value x = block.argument("x", {dtype, Shape::of(c.x)});
  const Value filter = block.argument("filter", {dtype, Shape::of(c.filter)});
  const Value y = conv2d(x, filter, c.attributes);
  const Value dy = block.argument("dy", y.type());
  const Values vx = random_values(x.type(), 1), vf = random_values(filter.type(), 2);
  const Values vd = random_values(y.type(), 3);
  Values ey(vd.size()), ex(vx.size()), ef(vf.size());
  Values sy(vd.size()), sx(vx.size()), sf(vf.size());  // sums of squares
  for_products(c, y.shape().static_dims(), [&](int64_t i, int64_t k, int64_t o) {
    ey[o] += vx[i] * vf[k];
    ex[i] += vd[o] * vf[k];
    ef[k] += vd[o] * vx[i];
    sy[o] += std::pow(vx[i] * vf[k], 2);
    sx[i] += std::pow(vd[o] * vf[k], 2);
    sf[k] += std::pow(vd[o] * vx[i], 2);
  });
  const Value dx = conv2d_input_grad(dy, filter, x.shape(), c.attributes);
  const Value df = conv2d_filter_grad(x, dy, filter.shape(), c.attributes);
  expect_all_near(tester, y, {vx, vf}, ey, sy, tolerance);
  expect_all_near(tester, df, {vx, vd}, ef, sf, tolerance);
  const auto t = [&](const Values& values) { return transposed(values, c.filter[3]); };
  expect_all_near(tester, turned(y), {vx, t(vf)}, ey, sy, tolerance);
  expect_all_near(tester, turned(df), {vx, vd}, t(ef), t(sf), tolerance);
  if (!with_input_grad) return;
  expect_all_near(tester, dx, {vd, vf}, ex, sx, tolerance);
  expect_all_near(tester, turned(dx), {vd, t(vf)}, ex, sx, tolerance);
}

inline Conv2dAttributes padded(Dims pads, Dims stride = {1, 1}) {
  return {.stride = std::move(stride), .padding = Padding::explicit_, .pads = std::move(pads)};
}

// The cases with `pack` / 4 times their channels.
inline std::vector<Case> widened(std::vector<Case> cases, int64_t pack) {
  for (Case& c : cases) {
    for (int64_t* channels : {&c.x[3], &c.filter[2], &c.filter[3]}) *channels *= pack / 4;
  }
  return cases;
}

inline std::vector<std::string_view> names(Value result) {
  std::vector<std::string_view> found;
  for (const KernelDef* kernel : kernels_for(convolution_kernels(), result)) {
    found.push_back(kernel->name);
  }
  return found;
}

inline const KernelDef& kernel_named(std::string_view name) {
  return *std::ranges::find(convolution_kernels(), name, &KernelDef::name);
}

inline Value quad_conv(Block& block, DType dtype, int64_t x_channels, int64_t groups = 1) {
  return turned(conv2d(block.argument("x", {dtype, {2, 6, 6, x_channels}}),
                       block.argument("filter", {dtype, {3, 3, x_channels / groups, 8}}),
                       {.groups = groups}));
}

// run() gives the same bits every time, on the double in every order of blocks.
template <typename Run>
void expect_same_in_any_order(Run run) {
  const auto want = run();
#ifdef ADJOINT_FAKE_CUDA
  using fake_cuda::BlockOrder;
  for (const BlockOrder order : {BlockOrder::reverse, BlockOrder::shuffled}) {
    fake_cuda::reset({.block_order = order});
    EXPECT_EQ(run(), want);
  }
  fake_cuda::reset();
#else
  EXPECT_EQ(run(), want);
#endif
}

class Conv : public testing::Test {
 protected:
#ifdef ADJOINT_FAKE_CUDA
  Conv() { fake_cuda::reset(); }
#endif
  void TearDown() override { EXPECT_THAT(findings(), testing::IsEmpty()); }
};

}  // namespace adjoint::cuda
