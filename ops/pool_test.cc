#include "ops/pool.h"

#include <gtest/gtest.h>

#include "ops/test_support.h"

namespace adjoint {
namespace {

struct PoolTest : testing::Test {
  Block block{"test"};

  Value v(std::string_view type) {
    return argument(block, "x" + std::to_string(block.size()), type);
  }
  std::string pool(std::string_view x, PoolAttributes attributes) {
    const std::string largest = type_of([&] { return max_pool(v(x), attributes); });
    const std::string average = type_of([&] { return avg_pool(v(x), attributes); });
    EXPECT_EQ(largest.substr(largest.find(':') + 1), average.substr(average.find(':') + 1));
    return largest;
  }
};

TEST_F(PoolTest, Shapes) {
  EXPECT_EQ(pool("f32[batch,24,24,24]", {.window = {2, 2}}), "f32[batch,12,12,24]");
  EXPECT_EQ(pool("f64[2,7,8,3]", {.window = {3, 2}, .stride = {2, 1}}), "f64[2,3,7,3]");
  EXPECT_EQ(pool("f32[2,7,8,3]", {.window = {3, 3}, .stride = {2, 2}, .padding = Padding::same}),
            "f32[2,4,4,3]");
  EXPECT_EQ(pool("f32[2,7,8,3]", {.window = {3, 3},
                                  .stride = {2, 2},
                                  .padding = Padding::explicit_,
                                  .pads = {2, 2, 0, 1}}),
            "f32[2,5,4,3]");
  EXPECT_EQ(pool("f32[b,h,w,c]", {.window = {2, 2}}), "f32[b,(h//2),(w//2),c]");
  EXPECT_EQ(pool("f32[0,4,4,1]", {.window = {2, 2}}), "f32[0,2,2,1]");
}

TEST_F(PoolTest, TheStrideIsTheWindowByDefault) {
  EXPECT_EQ(max_pool(v("f32[2,6,6,1]"), {.window = {2, 3}}).node().attributes.to_text(),
            "{window=[2,3], stride=[2,3]}");
  EXPECT_EQ(avg_pool(v("f32[2,6,6,1]"), {.window = {2, 3}}, true).node().attributes.to_text(),
            "{window=[2,3], stride=[2,3], count_include_pad=true}");
}

TEST_F(PoolTest, Errors) {
  EXPECT_EQ(pool("f32[2,6,6]", {.window = {2, 2}}),
            "max_pool: the input is not of rank 4: [2,6,6]");
  EXPECT_EQ(pool("i64[2,6,6,1]", {.window = {2, 2}}),
            "max_pool: operand 0 is i64[2,6,6,1], not a float type");
  EXPECT_EQ(pool("f32[2,6,6,1]", {}), "max_pool: the window takes 2 numbers, not []");
  EXPECT_EQ(pool("f32[2,6,6,1]", {.window = {0, 2}, .stride = {1, 1}}),
            "max_pool: the window is out of range: [0,2]");
  EXPECT_EQ(pool("f32[2,6,6,1]", {.window = {2, 2}, .stride = {0, 2}}),
            "max_pool: stride is out of range: [0,2]");
  EXPECT_EQ(
      pool("f32[2,6,6,1]", {.window = {7, 2}}),
      "max_pool: the window is larger than the input: 7 and 6: input [2,6,6,1], window [7,2]");
  EXPECT_EQ(
      pool("f32[2,6,6,1]", {.window = {2, 2}, .padding = Padding::explicit_, .pads = {2, 0, 0, 0}}),
      "max_pool: a pad is as large as the window: pads [2,0,0,0], window [2,2]");
  EXPECT_EQ(pool("f32[2,6,0,1]", {.window = {2, 2}}),
            "max_pool: a spatial dimension is empty: input [2,6,0,1], window [2,2]");
  EXPECT_EQ(
      pool("f32[b,h,6,1]", {.window = {3, 3}, .stride = {2, 2}, .padding = Padding::same}),
      "max_pool: padding 'same' with stride 2 needs a known size, not 'h' (give the pads): input "
      "[b,h,6,1], window [3,3]");
}

TEST_F(PoolTest, Gradients) {
  const PoolAttributes attributes{.window = {3, 3}, .stride = {2, 2}, .padding = Padding::same};
  const Value x = v("f32[b,7,8,3]");
  const Value y = max_pool(x, attributes);
  EXPECT_EQ(max_pool_grad(y, x, attributes).type(), x.type());
  EXPECT_EQ(max_pool_pick(x, x, attributes).type(), y.type());
  EXPECT_EQ(avg_pool_grad(y, x.shape(), attributes).type(), x.type());
  EXPECT_EQ(type_of([&] { return max_pool_grad(x, x, attributes); }),
            "max_pool_grad: operand 0 is f32[b,7,8,3], not of shape [b,4,4,3]");
  EXPECT_EQ(type_of([&] { return max_pool_pick(y, x, attributes); }),
            "max_pool_pick: operand 0 is f32[b,4,4,3], not of shape [b,7,8,3]");
  EXPECT_EQ(type_of([&] { return avg_pool_grad(x, x.shape(), attributes); }),
            "avg_pool_grad: operand 0 is f32[b,7,8,3], not of shape [b,4,4,3]");
}

}  // namespace
}  // namespace adjoint
