// conv2d's kernels and its gradients' against plain loops in double.
#include "runtime/cuda/kernels/conv_tester.h"

namespace adjoint::cuda {
namespace {

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

TEST_F(Conv, AgreesWithPlainLoops) {
  LibraryTester tester;
  for (const Case& c : cases()) {
    check(tester, c, DType::f32, {3e-6});
    check(tester, c, DType::f64, {1e-14});
  }
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
