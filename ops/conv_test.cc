#include "ops/conv.h"

#include <gtest/gtest.h>

#include "ops/test_support.h"

namespace adjoint {
namespace {

struct ConvTest : testing::Test {
  Block block{"test"};

  Value v(std::string_view type) {
    return argument(block, "x" + std::to_string(block.size()), type);
  }
  std::string conv(std::string_view x, std::string_view filter, Conv2dAttributes attributes = {}) {
    return type_of([&] { return conv2d(v(x), v(filter), attributes); });
  }
  std::string transposed(std::string_view x, std::string_view filter,
                         Conv2dAttributes attributes = {}, std::array<int64_t, 2> extra = {0, 0}) {
    return type_of([&] { return conv2d_transpose(v(x), v(filter), attributes, extra); });
  }
};

constexpr int64_t kHuge = int64_t{1} << 62;

TEST_F(ConvTest, Shapes) {
  EXPECT_EQ(conv("f32[batch,28,28,1]", "f32[5,5,1,24]"), "f32[batch,24,24,24]");
  EXPECT_EQ(conv("f64[2,30,26,3]", "f64[3,3,3,7]", {.stride = {2, 1}}), "f64[2,14,24,7]");
  EXPECT_EQ(conv("f32[2,10,10,4]", "f32[3,2,4,5]", {.dilation = {2, 3}}), "f32[2,6,7,5]");
  EXPECT_EQ(conv("f32[0,28,28,1]", "f32[5,5,1,24]"), "f32[0,24,24,24]");
  EXPECT_EQ(conv("f32[2,5,5,6]", "f32[3,3,2,9]", {.groups = 3}), "f32[2,3,3,9]");
  EXPECT_EQ(conv("f32[2,5,5,6]", "f32[3,3,1,12]", {.groups = 6}), "f32[2,3,3,12]");
}

TEST_F(ConvTest, Padding) {
  EXPECT_EQ(conv("f32[2,9,9,1]", "f32[4,3,1,2]", {.padding = Padding::same}), "f32[2,9,9,2]");
  EXPECT_EQ(conv("f32[2,9,8,1]", "f32[4,3,1,2]", {.stride = {2, 3}, .padding = Padding::same}),
            "f32[2,5,3,2]");
  EXPECT_EQ(
      conv("f32[2,9,9,1]", "f32[3,3,1,2]", {.padding = Padding::explicit_, .pads = {1, 2, 0, 3}}),
      "f32[2,10,10,2]");
  // Of an odd total, the end gets more.
  const WindowAxis axis{.size = 4, .stride = 2, .padding = Padding::same};
  EXPECT_EQ(pads_of(axis, 9), (Pads{1, 2}));
  EXPECT_EQ(pads_of(axis, 8), (Pads{1, 1}));
  const WindowAxis sparse{.size = 1, .stride = 3, .padding = Padding::same};
  EXPECT_EQ(pads_of(sparse, 8), (Pads{0, 0}));
  const WindowAxis dilated{.size = 3, .dilation = 2, .padding = Padding::same};
  EXPECT_EQ(pads_of(dilated, Dim::symbol("h")), (Pads{2, 2}));
}

TEST_F(ConvTest, SymbolicSpatialDimensions) {
  EXPECT_EQ(conv("f32[b,h,w,1]", "f32[5,3,1,2]"), "f32[b,h-4,w-2,2]");
  EXPECT_EQ(conv("f32[b,h,w,1]", "f32[5,3,1,2]", {.padding = Padding::same}), "f32[b,h,w,2]");
  EXPECT_EQ(conv("f32[b,h,8,1]", "f32[3,3,1,2]",
                 {.stride = {2, 2}, .padding = Padding::explicit_, .pads = {1, 1, 1, 1}}),
            "f32[b,((h-1)//2)+1,4,2]");
  EXPECT_EQ(conv("f32[b,h,8,1]", "f32[3,3,1,2]", {.stride = {2, 2}, .padding = Padding::same}),
            "conv2d: padding 'same' with stride 2 needs a known size, not 'h' (give the pads): "
            "input [b,h,8,1], filter [3,3,1,2]");
  EXPECT_EQ(conv("f32[b,8,8,1]", "f32[k,3,1,2]"), "conv2d: the window's size is not known: 'k'");
}

TEST_F(ConvTest, Errors) {
  const std::string shapes = "input [2,8,8,6], filter [3,3,6,4]";
  auto conv6 = [&](Conv2dAttributes a) { return conv("f32[2,8,8,6]", "f32[3,3,6,4]", a); };
  EXPECT_EQ(conv6({.groups = 0}), "conv2d: groups must be at least 1: " + shapes + ", groups 0");
  EXPECT_EQ(conv6({.groups = -1}), "conv2d: groups must be at least 1: " + shapes + ", groups -1");
  EXPECT_EQ(conv6({.groups = 2}),
            "conv2d: channels do not fit: " + shapes + ", groups 2 (6 and 12)");
  EXPECT_EQ(conv6({.groups = kHuge}), "conv2d: dimension overflows 64 bits");
  EXPECT_EQ(conv("f32[2,8,8,6]", "f32[3,3,2,4]", {.groups = 3}),
            "conv2d: groups do not divide the channels out: input [2,8,8,6], filter [3,3,2,4], "
            "groups 3");
  EXPECT_EQ(conv6({.stride = {0, 1}}), "conv2d: stride is out of range: [0,1]");
  EXPECT_EQ(conv6({.stride = {1, -2}}), "conv2d: stride is out of range: [1,-2]");
  EXPECT_EQ(conv6({.stride = {1, kHuge}}),
            "conv2d: stride is out of range: [1," + std::to_string(kHuge) + "]");
  EXPECT_EQ(conv6({.stride = {2}}), "conv2d: stride takes 2 numbers, not [2]");
  EXPECT_EQ(conv6({.dilation = {0, 0}}), "conv2d: dilation is out of range: [0,0]");
  EXPECT_EQ(conv6({.dilation = {4, 1}}),
            "conv2d: the window is larger than the input: 9 and 8: " + shapes);
  EXPECT_EQ(conv6({.padding = Padding::explicit_, .pads = {1, 1}}),
            "conv2d: pads takes 4 numbers, not [1,1]");
  EXPECT_EQ(conv6({.padding = Padding::explicit_, .pads = {0, 0, -1, 0}}),
            "conv2d: pads is out of range: [0,0,-1,0]");
  EXPECT_EQ(conv6({.padding = Padding::explicit_, .pads = {kHuge, kHuge, 0, 0}}).substr(0, 29),
            "conv2d: pads is out of range:");
  EXPECT_EQ(conv6({.pads = {1, 1, 1, 1}}), "conv2d: pads are given, but padding is 'valid'");
  EXPECT_EQ(conv6({.accumulate = DType::i32}), "conv2d: accumulate is i32, not f32 or f64");
  EXPECT_EQ(conv("f32[8,8,6]", "f32[3,3,6,4]"),
            "conv2d: not of rank 4: input [8,8,6], filter [3,3,6,4]");
  EXPECT_EQ(conv("f32[2,4,8,6]", "f32[5,3,6,4]"),
            "conv2d: the window is larger than the input: 5 and 4: input [2,4,8,6], filter "
            "[5,3,6,4]");
  EXPECT_EQ(conv("f32[2,0,8,6]", "f32[1,1,6,4]"),
            "conv2d: a spatial dimension is empty: input [2,0,8,6], filter [1,1,6,4]");
  EXPECT_EQ(conv("f32[2,8,8,0]", "f32[3,3,0,4]"),
            "conv2d: the filter is empty: input [2,8,8,0], filter [3,3,0,4], groups 1");
  EXPECT_EQ(conv("f32[2,8,8,6]", "f32[0,3,6,4]"), "conv2d: the window is out of range: [0,3]");
  EXPECT_EQ(conv("f32[2,8,8,6]", "f64[3,3,6,4]"),
            "conv2d: element types differ: f32[2,8,8,6] and f64[3,3,6,4] (use cast)");
  EXPECT_EQ(conv("u8[2,8,8,6]", "u8[3,3,6,4]"),
            "conv2d: operand 0 is u8[2,8,8,6], not a float type");
}

TEST_F(ConvTest, GradientsHaveTheOperandsShapes) {
  const Conv2dAttributes attributes{.stride = {2, 3}, .dilation = {1, 2}, .groups = 2};
  const Value x = v("f32[b,12,13,4]"), filter = v("f32[3,2,2,6]");
  const Value y = conv2d(x, filter, attributes);
  const Value dx = conv2d_input_grad(y, filter, x.shape(), attributes);
  const Value df = conv2d_filter_grad(x, y, filter.shape(), attributes);
  EXPECT_EQ(dx.type(), x.type());
  EXPECT_EQ(df.type(), filter.type());
  EXPECT_EQ(dx.node().attributes.to_text(),
            "{stride=[2,3], dilation=[1,2], groups=2, input=[b,12,13,4]}");
  EXPECT_EQ(df.node().attributes.to_text(),
            "{stride=[2,3], dilation=[1,2], groups=2, filter=[3,2,2,6]}");
}

TEST_F(ConvTest, GradientsOfOtherShapesAreErrors) {
  const Value x = v("f32[2,8,8,1]"), filter = v("f32[3,3,1,4]"), dy = v("f32[2,6,5,4]");
  EXPECT_EQ(type_of([&] { return conv2d_input_grad(dy, filter, x.shape()); }),
            "conv2d_input_grad: the gradient is f32[2,6,5,4], but the convolution's output "
            "[2,6,6,4]");
  EXPECT_EQ(type_of([&] { return conv2d_filter_grad(x, dy, filter.shape()); }),
            "conv2d_filter_grad: the gradient is f32[2,6,5,4], but the convolution's output "
            "[2,6,6,4]");
  EXPECT_EQ(type_of([&] {
              return conv2d_filter_grad(x, dy, {3, 3});
            }),
            "conv2d_filter_grad: not of rank 4: input [2,8,8,1], filter [3,3]");
}

TEST_F(ConvTest, TransposedShapes) {
  EXPECT_EQ(transposed("f32[b,4,5,8]", "f32[3,3,2,8]"), "f32[b,6,7,2]");
  EXPECT_EQ(transposed("f32[b,4,5,8]", "f32[3,3,2,8]", {.stride = {2, 2}}), "f32[b,9,11,2]");
  EXPECT_EQ(transposed("f32[b,4,5,8]", "f32[3,3,2,8]", {.stride = {2, 2}}, {1, 0}),
            "f32[b,10,11,2]");
  EXPECT_EQ(transposed("f32[b,4,5,8]", "f32[3,3,2,8]",
                       {.stride = {2, 2}, .padding = Padding::explicit_, .pads = {1, 1, 0, 1}}),
            "f32[b,7,10,2]");
  EXPECT_EQ(
      transposed("f32[b,4,5,8]", "f32[3,3,2,8]", {.stride = {2, 3}, .padding = Padding::same}),
      "f32[b,8,15,2]");
  EXPECT_EQ(transposed("f32[b,4,5,8]", "f32[3,3,2,8]", {.groups = 4}), "f32[b,6,7,8]");
  EXPECT_EQ(transposed("f32[b,h,w,8]", "f32[3,3,2,8]", {.stride = {2, 2}}), "f32[b,2*h+1,2*w+1,2]");
}

TEST_F(ConvTest, TransposedErrors) {
  EXPECT_EQ(transposed("f32[b,4,5,8]", "f32[3,3,2,8]", {.stride = {2, 2}}, {2, 0}),
            "conv2d_input_grad: transposed: extra 2 is not from 0 to below the stride 2: "
            "f32[b,4,5,8] and f32[3,3,2,8]");
  EXPECT_EQ(transposed("f32[b,4,5,7]", "f32[3,3,2,8]"),
            "conv2d_input_grad: the gradient is f32[b,4,5,7], but the convolution's output "
            "[b,4,5,8]");
  EXPECT_EQ(transposed("f32[4,5,7]", "f32[3,3,2,8]"),
            "conv2d_input_grad: transposed: an operand is not of rank 4: f32[4,5,7] and "
            "f32[3,3,2,8]");
}

}  // namespace
}  // namespace adjoint
