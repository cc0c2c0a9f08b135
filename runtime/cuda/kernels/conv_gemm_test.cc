// Convolutions as products of tiles (conv_gemm.h).
#include "runtime/cuda/kernels/conv_gemm.h"

#include <algorithm>
#include <limits>

#include "runtime/cuda/kernels/conv_tester.h"

namespace adjoint::cuda {
namespace {

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
      {"as many pixels as rows of a resident tile", {32, 12, 12, 4}, {2, 1, 4, 4}},
      {"as many pixels of y, and more channels", {2, 10, 9, 12}, {3, 2, 12, 52}},
      {"pixels that no filter sees", {2, 12, 12, 4}, {3, 3, 4, 8}, {.stride = {2, 2}}},
  };
  return widened(std::move(cases), pack);
}

using ConvGemm = Conv;

TEST_F(ConvGemm, AgreeWithPlainLoops) {
  LibraryTester tester;
  for (const Case& c : cases_in_packs(4)) check(tester, c, DType::f32, {6e-6});  // longer sums
}

TEST_F(ConvGemm, TensorCoresAgreeWithPlainLoops) {
  LibraryTester rounding({.tf32 = true}), tester;
  // cuDNN cuts both factors off where TF32 ends, by 2^-11 in the mean: all terms become smaller.
  const Tolerance tf32{1.0 / 512, 1.0 / 1024};
  for (const Case& c : cases_in_packs(4)) check(rounding, c, DType::f32, tf32);
  for (const Case& c : cases_in_packs(8)) check(tester, c, DType::bf16, {1.0 / 64});
}

TEST_F(ConvGemm, TakeWholeQuadsOfFloats) {
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

// A step of k that goes beyond a pixel's channels does not read the next pixel's, beside or below.
TEST_F(ConvGemm, KeepANaNInItsPixel) {
  constexpr int kBad = 7;
  const std::tuple<DType, int, std::string> cases[] = {
      {DType::f32, 4, "64x48"}, {DType::f32, 4, "tf32"}, {DType::bf16, 8, "bf16"}};
  for (const auto& [dtype, channels, variant] : cases) {
    LibraryTester tester({.tf32 = variant == "tf32"});
    Block block("test");
    const Value x = block.argument("x", {dtype, {32, 2, 2, channels}});
    const Value filter = block.argument("filter", {dtype, {1, 1, channels, channels}});
    Values values = random_values(x.type(), 1);
    values[channels * kBad] = std::numeric_limits<double>::quiet_NaN();
    const Value y = turned(conv2d(x, filter));
    const Value dx = turned(conv2d_input_grad(x, filter, x.shape()));
    const std::string images = variant == "64x48" ? "64x24" : variant;
    const std::tuple<Value, const char*, std::string> results[] = {
        {y, "adjoint.conv2d_gemm", variant},
        {y, "adjoint.conv2d_gemm", variant + "-resident"},
        {dx, "adjoint.conv2d_input_grad_gemm", images},
        {dx, "adjoint.conv2d_input_grad_gemm", images + "-pixels"},
        {dx, "adjoint.conv2d_input_grad_gemm", images + "-resident"}};
    for (const auto& [result, kernel, name] : results) {
      if (name.starts_with("64x") && name.ends_with("-resident")) continue;  // on tensor cores
      SCOPED_TRACE(std::string(kernel) + "#" + name);
      const std::vector<Values> inputs = {values, random_values(filter.type(), 2)};
      const Values got = tester.run(kernel_named(kernel), result, inputs, name);
      for (int i = 0; i < static_cast<int>(got.size()); ++i) {
        EXPECT_EQ(std::isnan(got[i]), i / channels == kBad) << i;
      }
    }
  }
}

// Strides of 1, and half a tile of images.
TEST_F(ConvGemm, OfTheInputsGradient) {
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
TEST_F(ConvGemm, HaveOneRank) {
  Block block("test");
  const Value filter = block.argument("filter", {DType::f32, {3, 3, 8, 8}});
  const Value x = block.argument("x", {DType::f32, {32, 6, 6, 8}});
  const Value y = conv2d(x, filter);
  const Value dx = turned(conv2d_input_grad(y, filter, x.shape()));
  const Value df = turned(conv2d_filter_grad(x, y, filter.shape()));
  auto variants = [](Value result, bool tf32) {
    LibraryTester tester({.tf32 = tf32});
    tester.context().properties.shared_bytes = 227 << 10;  // an H100's
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
  EXPECT_THAT(variants(turned(y), true), ElementsAre("tf32", "tf32-resident", "cudnn", "64x48"));
  EXPECT_THAT(variants(dx, true), ElementsAre("tf32", "tf32-pixels", "tf32-resident", "cudnn",
                                              "64x24", "64x24-pixels"));
  EXPECT_THAT(variants(df, false), ElementsAre("48x64", "cudnn"));
  EXPECT_THAT(variants(df, true), ElementsAre("tf32", "cudnn", "48x64"));
  Block narrow("narrow");
  const Value in_16_bits = quad_conv(narrow, DType::bf16, 8);
  for (const bool tf32 : {false, true}) {
    EXPECT_THAT(variants(in_16_bits, tf32), ElementsAre("bf16", "bf16-resident", "cudnn"));
  }
}

// Whether a block with so much shared memory has the variant, which is refused if it does not.
bool is_resident(Value result, const char* kernel_name, size_t shared_bytes,
                 const char* variant = "tf32-resident") {
  LibraryTester tester({.tf32 = true});
  tester.context().properties.shared_bytes = shared_bytes;
  KernelRequest request = request_of(result);
  const KernelDef& kernel = kernel_named(kernel_name);
  const auto variants = kernel.variants(request, tester.context());
  const bool is_listed = std::ranges::count(variants, variant) == 1;
  request.variant = variant;
  if (is_listed) {
    kernel.prepare(request, tester.context());
  } else {
    EXPECT_THROW(kernel.prepare(request, tester.context()), PlanError);
    EXPECT_THROW(kernel.describe(request, tester.context()), PlanError);
  }
  return is_listed;
}

// An image with zeros around and the filter have to fit a block's shared memory, and the pixels of
// the result's a tile.
TEST_F(ConvGemm, TheInputsGradientIsResidentWhereThereIsRoom) {
  const auto is_taken = [](int64_t rows, int64_t o, size_t shared_bytes) {
    Block block("test");
    const Value dy = block.argument("dy", {DType::f32, {32, rows - 4, 8, o}});
    const Value filter = block.argument("filter", {DType::f32, {5, 5, 24, o}});
    const Value dx = turned(conv2d_input_grad(dy, filter, {32, rows, 12, 24}));
    return is_resident(dx, "adjoint.conv2d_input_grad_gemm", shared_bytes);
  };
  // 16 x 16 pixels of 48 channels and 4 beside, and 25 x 48 x 24 values of the filter.
  constexpr size_t kBytes = 4 * (16 * 16 * 52 + 25 * 48 * 24);
  EXPECT_TRUE(is_taken(12, 48, kBytes));
  EXPECT_FALSE(is_taken(12, 48, kBytes - 1));
  EXPECT_FALSE(is_taken(13, 48, 2 * kBytes));
  EXPECT_FALSE(is_taken(12, 52, kBytes));
}

TEST_F(ConvGemm, AreResidentWhereThereIsRoom) {
  const auto is_taken = [](int64_t rows, int64_t c, size_t shared_bytes) {
    Block block("test");
    const Value x = block.argument("x", {DType::f32, {2, rows + 4, 12, c}});
    const Value filter = block.argument("filter", {DType::f32, {5, 5, c, 8}});
    return is_resident(turned(conv2d(x, filter)), "adjoint.conv2d_gemm", shared_bytes);
  };
  // 12 x 12 pixels of 24 channels and 4 beside, and 48 filters of 25 x 24 values and 4 beside.
  constexpr size_t kBytes = 4 * (12 * 12 * 28 + 48 * (25 * 24 + 4));
  EXPECT_TRUE(is_taken(8, 24, kBytes));
  EXPECT_FALSE(is_taken(8, 24, kBytes - 1));
  EXPECT_FALSE(is_taken(9, 24, 2 * kBytes));
  EXPECT_FALSE(is_taken(8, 28, kBytes));
  // What the warps add up needs room, too.
  constexpr size_t kSums = 4 * 8 * 64 * 48;
  EXPECT_TRUE(is_taken(8, 4, kSums));
  EXPECT_FALSE(is_taken(8, 4, kSums - 1));
}

// Four images of x and dy at a time, and a ticket for each tile of the result.
TEST_F(ConvGemm, TheFiltersGradientOnTensorCoresIsWhereThereIsRoom) {
  const auto is_taken = [](int64_t rows, int64_t o, int64_t c, size_t shared_bytes) {
    Block block("test");
    const Value x = block.argument("x", {DType::f32, {5, rows + 4, 12, c}});
    const Value dy = block.argument("dy", {DType::f32, {5, rows, 8, o}});
    const Value df = turned(conv2d_filter_grad(x, dy, {5, 5, c, o}));
    return is_resident(df, "adjoint.conv2d_filter_grad_gemm", shared_bytes, "tf32");
  };
  // 12 x 12 pixels of 24 channels and 4 beside, 8 x 8 of 48 and 4, and where these begin.
  constexpr size_t kBytes = 4 * 4 * (12 * 12 * 28 + 8 * 8 * 52) + 4 * 8 * 8;
  EXPECT_TRUE(is_taken(8, 48, 24, kBytes));
  EXPECT_FALSE(is_taken(8, 48, 24, kBytes - 1));
  EXPECT_FALSE(is_taken(9, 48, 24, kBytes));
  EXPECT_FALSE(is_taken(8, 56, 24, kBytes));
  constexpr size_t kSums = 4 * 8 * 48 * 64;  // what the warps add up
  EXPECT_TRUE(is_taken(2, 4, 4, kSums));
  EXPECT_FALSE(is_taken(2, 4, 4, kSums - 1));
  constexpr size_t kMuch = 1 << 20;
  EXPECT_TRUE(is_taken(2, 4, 160, kMuch));  // 25 x 160 values in 63 tiles
  EXPECT_FALSE(is_taken(2, 4, 168, kMuch));
}

TEST_F(ConvGemm, TheFiltersGradientHasTheSameBitsInAnyOrder) {
  Block block("test");
  const Value x = block.argument("x", {DType::f32, {33, 4, 5, 8}});
  const Value dy = block.argument("dy", {DType::f32, {33, 3, 3, 12}});
  const Value df = turned(conv2d_filter_grad(x, dy, {2, 3, 8, 12}));
  const std::vector<Values> inputs = {random_values(x.type(), 1), random_values(dy.type(), 2)};
  expect_same_in_any_order([&] {
    return LibraryTester({.tf32 = true})
        .run(kernel_named("adjoint.conv2d_filter_grad_gemm"), df, inputs, "tf32");
  });
}

// Beyond an image's pixels a step of k reads nothing.
TEST_F(ConvGemm, TheFiltersGradientKeepsANaNInItsTap) {
  constexpr int kBad = 5;
  const Case c{"", {4, 3, 3, 8}, {2, 2, 8, 8}};
  Block block("test");
  const Value x = block.argument("x", {DType::bf16, Shape::of(c.x)});
  const Value dy = block.argument("dy", {DType::bf16, {4, 2, 2, 8}});
  const Value df = turned(conv2d_filter_grad(x, dy, Shape::of(c.filter)));
  Values values = random_values(x.type(), 1);
  values[kBad] = std::numeric_limits<double>::quiet_NaN();  // the corner is seen by one tap
  const Values got = LibraryTester().run(kernel_named("adjoint.conv2d_filter_grad_gemm"), df,
                                         {values, random_values(dy.type(), 2)}, "bf16");
  for (int i = 0; i < static_cast<int>(got.size()); ++i) {
    EXPECT_EQ(std::isnan(got[i]), i % (4 * 8) == kBad) << i;
  }
}

TEST_F(ConvGemm, RefusesAnUnknownVariant) {
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

TEST_F(ConvGemm, RoundFactorsOnDemandOnly) {
  Block block("test");
  const Value x = block.argument("x", {DType::f32, {32, 1, 1, 4}});
  const Value filter = block.argument("filter", {DType::f32, {1, 1, 4, 4}});
  const std::pair<Value, std::string> results[] = {
      {turned(conv2d(x, filter)), "adjoint.conv2d_gemm"},
      {turned(conv2d_input_grad(x, filter, x.shape())), "adjoint.conv2d_input_grad_gemm"}};
  const Value df = turned(conv2d_filter_grad(x, x, filter.shape()));
  const double fine = 1 + std::ldexp(1, -20);
  const std::vector<Values> inputs = {Values(32 * 4, fine), Values(4 * 4, 0.25)};
  LibraryTester exact, rounding({.tf32 = true});
  const KernelDef& filter_grad = kernel_named("adjoint.conv2d_filter_grad_gemm");
  const std::vector<Values> both = {Values(32 * 4, fine), Values(32 * 4, 0.25)};
  EXPECT_EQ(rounding.run(filter_grad, df, both)[0], 8 * fine);
  EXPECT_EQ(rounding.run(filter_grad, df, both, "tf32")[0], 8);
  EXPECT_THROW(exact.run(filter_grad, df, both, "tf32"), PlanError);
  for (const auto& [result, name] : results) {
    const KernelDef& kernel = kernel_named(name);
    EXPECT_EQ(exact.run(kernel, result, inputs)[0], fine);
    EXPECT_EQ(rounding.run(kernel, result, inputs)[0], fine);
    EXPECT_EQ(rounding.run(kernel, result, inputs, "tf32")[0], 1);
    EXPECT_THROW(exact.run(kernel, result, inputs, "tf32"), PlanError);
    EXPECT_EQ(rounding.run(kernel, result, inputs, "tf32-resident")[0], 1);
    if (name == "adjoint.conv2d_input_grad_gemm") {
      EXPECT_EQ(rounding.run(kernel, result, inputs, "tf32-pixels")[0], 1);
    } else {
      EXPECT_THROW(rounding.run(kernel, result, inputs, "tf32-pixels"), PlanError);
    }
  }
}

}  // namespace
}  // namespace adjoint::cuda
