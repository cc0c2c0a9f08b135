// conv2d's kernels and its gradients' against plain loops in double.
#include "ops/conv.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/region.h"
#include "runtime/cuda/filter_layout.h"
#include "runtime/cuda/kernels/library_tester.h"

namespace adjoint::cuda {
namespace {

using Dims = std::vector<int64_t>;
using Values = std::vector<double>;

struct Case {
  std::string name;
  Dims x;
  Dims filter;
  Conv2dAttributes attributes = {};
};

int64_t pad_before(const Case& c, const Dims& y, int axis) {
  const Conv2dAttributes& a = c.attributes;
  if (a.padding == Padding::explicit_) return a.pads[2 * axis];
  if (a.padding == Padding::valid) return 0;
  const int64_t extent = (c.filter[axis] - 1) * a.dilation[axis] + 1;
  return std::max<int64_t>((y[1 + axis] - 1) * a.stride[axis] + extent - c.x[1 + axis], 0) / 2;
}

// Calls visit(x index, filter index, y index) for each product of the convolution.
template <typename Visit>
void for_products(const Case& c, const Dims& y, Visit visit) {
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

// Every kernel, with every variant, against `want`; `size` is the terms' squares.
void expect_all_near(LibraryTester& tester, Value result, const std::vector<Values>& inputs,
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
Values transposed(const Values& matrix, int64_t columns) {
  Values result;
  for (int64_t c = 0; c < columns; ++c) {
    for (size_t i = c; i < matrix.size(); i += columns) result.push_back(matrix[i]);
  }
  return result;
}

// The region that filter_layout makes of a convolution.
Value turned(Value convolution) {
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
void check(LibraryTester& tester, const Case& c, DType dtype, const Tolerance& tolerance,
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

Conv2dAttributes padded(Dims pads, Dims stride = {1, 1}) {
  return {.stride = std::move(stride), .padding = Padding::explicit_, .pads = std::move(pads)};
}

std::vector<Case> cases() {
  const auto same = Padding::same;
  return {
      {"one pixel", {1, 1, 1, 1}, {1, 1, 1, 1}},
      {"first layer", {2, 10, 10, 1}, {5, 5, 1, 6}},
      {"second layer", {3, 6, 7, 5}, {3, 2, 5, 8}},
      {"pointwise", {2, 3, 4, 7}, {1, 1, 7, 9}},
      {"same", {2, 5, 6, 3}, {3, 3, 3, 4}, {.padding = same}},
      {"same, even filter", {2, 5, 6, 3}, {2, 4, 3, 4}, {.padding = same}},
      {"same, even filter, stride",
       {2, 9, 8, 2},
       {4, 2, 2, 5},
       {.stride = {2, 3}, .padding = same}},
      {"stride", {2, 9, 11, 3}, {3, 3, 3, 4}, {.stride = {2, 2}}},
      {"stride leaves pixels", {2, 8, 9, 2}, {2, 1, 2, 3}, {.stride = {3, 4}}},
      {"dilation", {2, 9, 10, 3}, {3, 3, 3, 2}, {.dilation = {2, 3}}},
      {"dilation, stride, same",
       {2, 9, 10, 3},
       {3, 3, 3, 2},
       {.stride = {2, 2}, .dilation = {2, 3}, .padding = same}},
      {"uneven pads", {2, 6, 7, 3}, {3, 3, 3, 5}, padded({2, 0, 1, 3})},
      {"uneven pads, stride", {2, 6, 7, 3}, {3, 3, 3, 5}, padded({0, 2, 2, 1}, {2, 3})},
      {"pads beyond the filter", {2, 4, 5, 2}, {2, 3, 2, 5}, padded({3, 3, 4, 4}, {1, 2})},
      {"groups", {2, 6, 5, 6}, {3, 3, 2, 9}, {.groups = 3}},
      {"groups, same, stride",
       {2, 6, 7, 4},
       {3, 3, 2, 6},
       {.stride = {2, 1}, .padding = same, .groups = 2}},
      {"depthwise", {2, 5, 6, 7}, {3, 3, 1, 7}, {.padding = same, .groups = 7}},
      {"depthwise, multiplier", {2, 5, 5, 3}, {3, 3, 1, 6}, {.groups = 3}},
      {"no images", {0, 6, 6, 3}, {3, 3, 3, 4}},
  };
}

// What conv_thin.h takes: around its packs of channels and pixels, in one block, in one group of
// blocks and in several.
std::vector<Case> thin_cases() {
  const auto same = Padding::same;
  return {
      {"one pixel", {1, 5, 5, 1}, {5, 5, 1, 8}},
      {"four pixels", {2, 3, 6, 1}, {3, 3, 1, 16}},
      {"same", {2, 6, 7, 3}, {3, 3, 3, 8}, {.padding = same}},
      {"even height", {1, 6, 9, 4}, {2, 7, 4, 24}, padded({2, 0, 4, 5})},
      {"rows of padding", {1, 2, 5, 2}, {3, 3, 2, 8}, padded({4, 3, 0, 0})},
      {"64 channels", {3, 6, 13, 1}, {4, 5, 1, 64}},
      {"most values", {2, 7, 6, 4}, {6, 5, 4, 8}, {.padding = same}},
      {"some blocks", {5, 30, 11, 1}, {5, 5, 1, 24}},
      {"several groups", {27, 30, 8, 1}, {5, 5, 1, 48}},
      {"several rows each", {40, 43, 3, 4}, {4, 3, 4, 64}},
  };
}

// Channels in whole packs of so many, which the products of tiles take, and images enough for the
// input's gradient: sizes around those of the tiles.
std::vector<Case> cases_in_packs(int64_t pack) {
  const auto same = Padding::same;
  std::vector<Case> cases = {
      {"one pixel", {32, 1, 1, 4}, {1, 1, 4, 4}},
      {"one image", {1, 3, 4, 8}, {2, 2, 8, 12}},
      {"pointwise", {33, 2, 3, 8}, {1, 1, 8, 12}},
      {"second layer", {32, 6, 7, 24}, {5, 5, 24, 48}},
      {"a row and a column too many", {65, 2, 2, 28}, {2, 2, 28, 52}},
      {"half a step of channels", {32, 3, 4, 60}, {2, 3, 60, 4}},
      {"same", {32, 5, 6, 4}, {3, 3, 4, 12}, {.padding = same}},
      {"same, even filter, stride",
       {2, 9, 8, 4},
       {4, 2, 4, 12},
       {.stride = {2, 3}, .padding = same}},
      {"dilation", {32, 7, 8, 4}, {3, 3, 4, 4}, {.dilation = {2, 3}}},
      {"dilation, stride, same",
       {2, 9, 10, 12},
       {3, 3, 12, 8},
       {.stride = {2, 2}, .dilation = {2, 3}, .padding = same}},
      {"dilation, uneven pads",
       {32, 5, 6, 4},
       {3, 2, 4, 8},
       {.dilation = {2, 3}, .padding = Padding::explicit_, .pads = {2, 0, 1, 4}}},
      {"pads beyond the filter", {32, 4, 5, 4}, {2, 3, 4, 12}, padded({3, 3, 4, 4})},
      {"pixels in parts", {5, 12, 11, 4}, {3, 3, 4, 60}},
      {"two taps in a step", {2, 9, 8, 4}, {7, 7, 4, 8}, {.padding = same}},
  };
  for (Case& c : cases) {
    for (int64_t* channels : {&c.x[3], &c.filter[2], &c.filter[3]}) *channels *= pack / 4;
  }
  return cases;
}

class Conv : public testing::Test {
 protected:
#ifdef ADJOINT_FAKE_CUDA
  Conv() { fake_cuda::reset(); }
#endif
  void TearDown() override { EXPECT_THAT(findings(), testing::IsEmpty()); }
};

TEST_F(Conv, AgreesWithPlainLoops) {
  LibraryTester tester;
  for (const Case& c : cases()) {
    check(tester, c, DType::f32, {3e-6});
    check(tester, c, DType::f64, {1e-14});
  }
}

TEST_F(Conv, ProductsOfTilesAgreeWithPlainLoops) {
  LibraryTester tester;
  for (const Case& c : cases_in_packs(4)) check(tester, c, DType::f32, {6e-6});  // longer sums
}

TEST_F(Conv, ProductsOnTensorCoresAgreeWithPlainLoops) {
  LibraryTester rounding({.tf32 = true}), tester;
  // cuDNN cuts both factors off where TF32 ends, by 2^-11 in the mean: all terms become smaller.
  const Tolerance tf32{1.0 / 512, 1.0 / 1024};
  for (const Case& c : cases_in_packs(4)) check(rounding, c, DType::f32, tf32);
  for (const Case& c : cases_in_packs(8)) check(tester, c, DType::bf16, {1.0 / 64});
}

TEST_F(Conv, AddsInFloatWhatIsStoredIn16Bits) {
  LibraryTester tester;
  for (const Case& c : cases()) {
    check(tester, c, DType::bf16, {1.0 / 64});  // a few roundings of results above `size`
    check(tester, c, DType::f16, {1.0 / 512});
  }
}

TEST_F(Conv, ThinOnesAgreeWithPlainLoops) {
  LibraryTester tester;
  for (const Case& c : thin_cases()) {
    check(tester, c, DType::f32, {3e-6}, false);
    check(tester, c, DType::bf16, {1.0 / 64}, false);
    check(tester, c, DType::f16, {1.0 / 512}, false);
  }
}

TEST_F(Conv, AddsInDoubleOnDemand) {
  LibraryTester tester;
  for (Case c : cases()) {
    c.attributes.accumulate = DType::f64;
    check(tester, c, DType::f32, {4e-7});
  }
}

Value some_conv(Block& block, Dims pads, DType accumulate = DType::f32) {
  Conv2dAttributes attributes = padded(std::move(pads));
  attributes.accumulate = accumulate;
  return conv2d(block.argument("x", {DType::f32, {2, 6, 6, 3}}),
                block.argument("filter", {DType::f32, {3, 3, 3, 4}}), attributes);
}

Value quad_conv(Block& block, DType dtype, int64_t x_channels, int64_t groups = 1) {
  return turned(conv2d(block.argument("x", {dtype, {2, 6, 6, x_channels}}),
                       block.argument("filter", {dtype, {3, 3, x_channels / groups, 8}}),
                       {.groups = groups}));
}

std::vector<std::string_view> names(Value result) {
  std::vector<std::string_view> found;
  for (const KernelDef* kernel : kernels_for(conv_kernels(), result)) found.push_back(kernel->name);
  return found;
}

const KernelDef& kernel_named(std::string_view name) {
  return *std::ranges::find(conv_kernels(), name, &KernelDef::name);
}

TEST_F(Conv, CudnnTakesWhatIsLaidOutForIt) {
  Block block("test");
  const Value y = some_conv(block, {1, 1, 1, 1});
  EXPECT_THAT(names(y), testing::ElementsAre("adjoint.conv2d"));
  EXPECT_THAT(names(turned(y)), testing::ElementsAre("cudnn.conv2d"));
  Block wide("wide");
  EXPECT_THAT(names(turned(some_conv(wide, {1, 1, 1, 1}, DType::f64))), testing::IsEmpty());
}

// The first kernel for a conv2d, the one for its filter's gradient, and whether cuDNN takes it.
std::vector<std::string_view> kernels_of(const Case& c, DType dtype = DType::bf16) {
  Block block("test");
  const Value x = block.argument("x", {dtype, Shape::of(c.x)});
  const Value filter = block.argument("filter", {dtype, Shape::of(c.filter)});
  const Value y = conv2d(x, filter, c.attributes);
  const Value df = conv2d_filter_grad(x, y, filter.shape(), c.attributes);
  std::vector<std::string_view> names;
  for (const Value& result : {y, df, turned(y), turned(df)}) {
    const auto found = kernels_for(conv_kernels(), result);
    names.push_back(found.empty() ? "none" : found[0]->name);
  }
  return names;
}

TEST_F(Conv, ThinOnesStayOutsideOfRegions) {
  const auto thin = testing::ElementsAre("adjoint.conv2d_thin", "adjoint.conv2d_filter_grad_thin",
                                         "none", "none");
  for (const Case& c : thin_cases()) {
    EXPECT_THAT(kernels_of(c), thin) << c.name;
    EXPECT_THAT(kernels_of(c, DType::f32), thin) << c.name;
  }
  const auto other = testing::ElementsAre("adjoint.conv2d", "adjoint.conv2d_filter_grad",
                                          "cudnn.conv2d", "cudnn.conv2d_filter_grad");
  const std::vector<Case> others = {
      {"stride", {2, 9, 9, 1}, {5, 5, 1, 8}, {.stride = {1, 2}}},
      {"dilation", {2, 9, 9, 1}, {3, 3, 1, 8}, {.dilation = {2, 1}}},
      {"groups", {2, 9, 9, 2}, {3, 3, 1, 8}, {.groups = 2}},
      {"width", {2, 9, 9, 1}, {5, 4, 1, 8}},
      {"channels of x", {2, 9, 9, 5}, {3, 3, 5, 8}},
      {"channels of y", {2, 9, 9, 1}, {3, 3, 1, 12}},
      {"many channels of y", {2, 9, 9, 1}, {3, 3, 1, 72}},
      {"many values", {2, 9, 9, 4}, {7, 5, 4, 8}},
      {"many threads", {2, 14, 9, 3}, {11, 3, 3, 64}},
  };
  for (const Case& c : others) EXPECT_THAT(kernels_of(c), other) << c.name;
  EXPECT_EQ(kernels_of(thin_cases()[0], DType::f64)[0], "adjoint.conv2d");
}

TEST_F(Conv, ProductsOfTilesTakeWholeQuadsOfFloats) {
  const std::string_view ours = "adjoint.conv2d_gemm", cudnn = "cudnn.conv2d";
  Block block("test");
  EXPECT_THAT(names(quad_conv(block, DType::f32, 8)), testing::ElementsAre(ours, cudnn, ours));
  Block thin("thin"), grouped("grouped"), narrow("narrow");
  EXPECT_THAT(names(quad_conv(thin, DType::f32, 6)), testing::ElementsAre(cudnn));
  EXPECT_THAT(names(quad_conv(grouped, DType::f32, 8, 2)), testing::ElementsAre(cudnn));
  EXPECT_THAT(names(quad_conv(narrow, DType::bf16, 12)), testing::ElementsAre(cudnn));
  Block octets("octets"), half("half");
  EXPECT_THAT(names(quad_conv(octets, DType::bf16, 8)), testing::ElementsAre(ours, cudnn, ours));
  EXPECT_THAT(names(quad_conv(half, DType::f16, 8)), testing::ElementsAre(cudnn));
}

// A step of k that goes beyond a pixel's channels does not read the next pixel's.
TEST_F(Conv, ProductsOfTilesKeepANaNInItsPixel) {
  constexpr int kBad = 5;
  const std::tuple<DType, int, std::string> cases[] = {
      {DType::f32, 4, ""}, {DType::f32, 4, "tf32"}, {DType::bf16, 8, "bf16"}};
  for (const auto& [dtype, channels, variant] : cases) {
    LibraryTester tester({.tf32 = variant == "tf32"});
    Block block("test");
    const Value x = block.argument("x", {dtype, {32, 1, 2, channels}});
    const Value filter = block.argument("filter", {dtype, {1, 1, channels, channels}});
    Values values = random_values(x.type(), 1);
    values[channels * kBad] = std::numeric_limits<double>::quiet_NaN();
    const std::pair<Value, const char*> results[] = {
        {turned(conv2d(x, filter)), "adjoint.conv2d_gemm"},
        {turned(conv2d_input_grad(x, filter, x.shape())), "adjoint.conv2d_input_grad_gemm"}};
    for (const auto& [result, kernel] : results) {
      SCOPED_TRACE(std::string(kernel) + "#" + variant);
      const std::vector<Values> inputs = {values, random_values(filter.type(), 2)};
      const Values got = tester.run(kernel_named(kernel), result, inputs, variant);
      for (int i = 0; i < static_cast<int>(got.size()); ++i) {
        EXPECT_EQ(std::isnan(got[i]), i / channels == kBad) << i;
      }
    }
  }
}

// Strides of 1, and half a tile of images.
TEST_F(Conv, ProductsOfTilesOfTheInputsGradient) {
  auto names_for = [](int64_t images, int64_t stride) {
    Block block("test");
    const Value dy = block.argument("dy", {DType::f32, {images, 3, 3, 4}});
    const Value filter = block.argument("filter", {DType::f32, {2, 2, 4, 4}});
    const int64_t size = stride == 1 ? 4 : 6;
    return names(turned(
        conv2d_input_grad(dy, filter, {images, size, size, 4}, {.stride = {stride, stride}})));
  };
  const std::string_view ours = "adjoint.conv2d_input_grad_gemm", cudnn = "cudnn.conv2d_input_grad";
  EXPECT_THAT(names_for(32, 1), testing::ElementsAre(ours, cudnn, ours));
  EXPECT_THAT(names_for(31, 1), testing::ElementsAre(cudnn));
  EXPECT_THAT(names_for(32, 2), testing::ElementsAre(cudnn));
}

// Before cuDNN's; with TF32, those on the CUDA cores go behind them.
TEST_F(Conv, ProductsOfTilesHaveOneRank) {
  Block block("test");
  const Value filter = block.argument("filter", {DType::f32, {3, 3, 8, 8}});
  const Value x = block.argument("x", {DType::f32, {32, 6, 6, 8}});
  const Value y = conv2d(x, filter);
  const Value dx = turned(conv2d_input_grad(y, filter, x.shape()));
  const Value df = turned(conv2d_filter_grad(x, y, filter.shape()));
  auto variants = [](Value result, bool tf32) {
    LibraryTester tester({.tf32 = tf32});
    std::vector<std::string> found;
    for (const KernelDef* kernel : kernels_for(conv_kernels(), result)) {
      const auto some = kernel->variants(request_of(result), tester.context());
      if (kernel->name.starts_with("cudnn.")) {
        found.push_back("cudnn");
      } else {
        found.insert(found.end(), some.begin(), some.end());
      }
    }
    return found;
  };
  using testing::ElementsAre;
  EXPECT_THAT(variants(turned(y), false), ElementsAre("64x48", "cudnn"));
  EXPECT_THAT(variants(turned(y), true), ElementsAre("tf32", "cudnn", "64x48"));
  EXPECT_THAT(variants(dx, true), ElementsAre("tf32", "cudnn", "64x24"));
  EXPECT_THAT(variants(df, false), ElementsAre("48x64", "cudnn"));
  EXPECT_THAT(variants(df, true), ElementsAre("cudnn", "48x64"));
  Block narrow("narrow");
  const Value in_16_bits = quad_conv(narrow, DType::bf16, 8);
  for (const bool tf32 : {false, true}) {
    EXPECT_THAT(variants(in_16_bits, tf32), ElementsAre("bf16", "cudnn"));
  }
}

TEST_F(Conv, RefusesAnUnknownVariant) {
  LibraryTester tester;
  Block block("test");
  KernelRequest request = request_of(quad_conv(block, DType::f32, 8));
  for (const char* name : {"adjoint.conv2d_gemm", "cudnn.conv2d"}) {
    request.variant = "77";
    EXPECT_THROW(kernel_named(name).prepare(request, tester.context()), PlanError);
    request.variant = "x";
    EXPECT_THROW(kernel_named(name).describe(request, tester.context()), PlanError);
  }
}

TEST_F(Conv, ProductsOfTilesRoundFactorsOnDemandOnly) {
  Block block("test");
  const Value x = block.argument("x", {DType::f32, {32, 1, 1, 4}});
  const Value filter = block.argument("filter", {DType::f32, {1, 1, 4, 4}});
  const std::pair<Value, std::string> results[] = {
      {turned(conv2d(x, filter)), "adjoint.conv2d_gemm"},
      {turned(conv2d_input_grad(x, filter, x.shape())), "adjoint.conv2d_input_grad_gemm"}};
  const double fine = 1 + std::ldexp(1, -20);
  const std::vector<Values> inputs = {Values(32 * 4, fine), Values(4 * 4, 0.25)};
  LibraryTester exact, rounding({.tf32 = true});
  for (const auto& [result, name] : results) {
    const KernelDef& kernel = kernel_named(name);
    EXPECT_EQ(exact.run(kernel, result, inputs)[0], fine);
    EXPECT_EQ(rounding.run(kernel, result, inputs)[0], fine);
    EXPECT_EQ(rounding.run(kernel, result, inputs, "tf32")[0], 1);
    EXPECT_THROW(exact.run(kernel, result, inputs, "tf32"), PlanError);
  }
}

#ifdef ADJOINT_FAKE_CUDA
TEST_F(Conv, VariantsAreReproducibleUnlessAllAreWelcome) {
  Block block("test");
  const Value dy = block.argument("dy", {DType::f32, {2, 4, 4, 5}});
  const Value filter = block.argument("filter", {DType::f32, {3, 3, 3, 5}});
  const Value dx = turned(conv2d_input_grad(dy, filter, {2, 6, 6, 3}));
  const KernelDef& kernel = *kernels_for(conv_kernels(), dx)[0];
  LibraryTester careful, careless({.deterministic = false}), rounding({.tf32 = true});
  EXPECT_THAT(kernel.variants(request_of(dx), careful.context()), testing::ElementsAre("1"));
  EXPECT_THAT(kernel.variants(request_of(dx), careless.context()), testing::ElementsAre("0", "1"));
  EXPECT_THAT(kernel.variants(request_of(dx), rounding.context()), testing::ElementsAre("1"));
}

TEST_F(Conv, HasNoVariantWhereCudnnRefuses) {
  LibraryTester tester;
  Block block("test");
  const KernelRequest request = request_of(turned(some_conv(block, {3, 3, 3, 3})));
  EXPECT_THAT(kernel_named("cudnn.conv2d").variants(request, tester.context()), testing::IsEmpty());
  EXPECT_THROW(kernel_named("cudnn.conv2d").describe(request, tester.context()), PlanError);
}

TEST_F(Conv, RoundsFactorsOnDemandOnly) {
  Block block("test");
  const Value y = turned(conv2d(block.argument("x", {DType::f32, {1, 1, 1, 1}}),
                                block.argument("filter", {DType::f32, {1, 1, 1, 1}})));
  const double fine = 1 + std::ldexp(1, -20);  // needs more than TF32's 10 bits
  EXPECT_EQ(LibraryTester().run(kernel_named("cudnn.conv2d"), y, {{fine}, {1}})[0], fine);
  EXPECT_EQ(LibraryTester({.tf32 = true}).run(kernel_named("cudnn.conv2d"), y, {{fine}, {1}})[0],
            1);
}
#endif

}  // namespace
}  // namespace adjoint::cuda
