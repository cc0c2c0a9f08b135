#include "ops/shape.h"

#include <gtest/gtest.h>

#include "ops/test_support.h"

namespace adjoint {
namespace {

struct ShapeTest : testing::Test {
  Block block{"test"};
  Dim batch = Dim::symbol("batch");
  Value images = argument(block, "images", "f32[batch,28,28,1]");
  Value x = argument(block, "x", "f32[4,6]");
  Value p = argument(block, "p", "bool[2,3]");
};

TEST_F(ShapeTest, Reshape) {
  EXPECT_EQ(type_of([&] { return reshape(images, {batch, 784}); }), "f32[batch,784]");
  EXPECT_EQ(type_of([&] { return reshape(images, {batch, -1}); }), "f32[batch,784]");
  EXPECT_EQ(type_of([&] { return reshape(images, {-1, 28}); }), "f32[28*batch,28]");
  EXPECT_EQ(type_of([&] { return reshape(images, {-1}); }), "f32[784*batch]");
  EXPECT_EQ(type_of([&] { return reshape(x, {2, -1, 3}); }), "f32[2,4,3]");
  EXPECT_EQ(type_of([&] { return reshape(x, Shape{24}); }), "f32[24]");
  EXPECT_EQ(type_of([&] { return reshape(argument(block, "one", "f32[1,1]"), {}); }), "f32[]");
  EXPECT_EQ(type_of([&] { return reshape(p, {6}); }), "bool[6]");
  EXPECT_EQ(type_of([&] {
              return reshape(argument(block, "none", "f32[0,batch]"), {3, 0});
            }),
            "f32[3,0]");
}

TEST_F(ShapeTest, ReshapeErrors) {
  EXPECT_EQ(type_of([&] {
              return reshape(images, {batch, 10});
            }),
            "reshape: element counts differ: f32[batch,28,28,1] and [batch,10] "
            "(784*batch and 10*batch)");
  EXPECT_EQ(type_of([&] { return reshape(x, {-1, -1}); }), "reshape: two dimensions are -1");
  EXPECT_EQ(type_of([&] {
              return reshape(x, {5, -1});
            }),
            "reshape: the -1 does not come out whole: f32[4,6] over 5");
  EXPECT_EQ(type_of([&] {
              return reshape(images, {Dim::symbol("n"), -1});
            }),
            "reshape: the -1 does not come out whole: f32[batch,28,28,1] over n");
  EXPECT_EQ(type_of([&] {
              return reshape(argument(block, "none", "f32[0,3]"), {0, -1});
            }),
            "reshape: -1 beside a dimension of 0");
  EXPECT_EQ(type_of([&] { return reshape(Value(), {1}); }), "reshape: operand 0 is an empty value");
}

TEST_F(ShapeTest, Transpose) {
  EXPECT_EQ(type_of([&] { return transpose(images, {0, 3, 1, 2}); }), "f32[batch,1,28,28]");
  EXPECT_EQ(type_of([&] { return transpose(images, {0, -1, 1, 2}); }), "f32[batch,1,28,28]");
  EXPECT_EQ(type_of([&] { return transpose(x); }), "f32[6,4]");
  EXPECT_EQ(type_of([&] { return transpose(x, {0}); }),
            "transpose: [0] is no permutation of the axes of f32[4,6]");
  EXPECT_EQ(type_of([&] {
              return transpose(x, {0, 0});
            }),
            "transpose: [0,0] is no permutation of the axes of f32[4,6]");
  EXPECT_EQ(type_of([&] {
              return transpose(x, {0, 2});
            }),
            "transpose: [0,2] is no permutation of the axes of f32[4,6]");
}

TEST_F(ShapeTest, BroadcastAndSum) {
  const Value row = argument(block, "row", "f32[3,1]");
  EXPECT_EQ(type_of([&] { return broadcast_to(row, {batch, 3, 7}); }), "f32[batch,3,7]");
  EXPECT_EQ(type_of([&] {
              return broadcast_to(row, {4, 7});
            }),
            "broadcast_to: f32[3,1] does not broadcast to [4,7]");
  EXPECT_EQ(type_of([&] { return broadcast_to(row, {3}); }),
            "broadcast_to: f32[3,1] does not broadcast to [3]");
  EXPECT_EQ(type_of([&] { return broadcast_to(row, {3, 0}); }), "f32[3,0]");
  EXPECT_EQ(type_of([&] { return sum_to(images, {28, 1, 1}); }), "f32[28,1,1]");
  EXPECT_EQ(type_of([&] { return sum_to(x, {4}); }),
            "sum_to: f32[4,6] does not sum to [4], which does not broadcast to it");
  EXPECT_EQ(type_of([&] { return sum_to(p, {3}); }),
            "sum_to: operand 0 is bool[2,3], not a number type");
}

TEST_F(ShapeTest, Concat) {
  const Value y = argument(block, "y", "f32[batch,6]");
  EXPECT_EQ(type_of([&] { return concat({x, y, x}, 0); }), "f32[batch+8,6]");
  EXPECT_EQ(type_of([&] { return concat({x, x}, -1); }), "f32[4,12]");
  EXPECT_EQ(type_of([&] {
              return concat({x, y}, 1);
            }),
            "concat: shapes differ beside axis 1: f32[4,6] and f32[batch,6]");
  EXPECT_EQ(type_of([&] {
              return concat({x, p}, 1);
            }),
            "concat: element types differ: f32[4,6] and bool[2,3] (use cast)");
  EXPECT_EQ(type_of([&] {
              return concat({x, x}, 2);
            }),
            "concat: axis 2 is out of range for rank 2: f32[4,6]");
  EXPECT_EQ(type_of([&] {
              return concat({x, x}, -3);
            }),
            "concat: axis -3 is out of range for rank 2: f32[4,6]");
  EXPECT_EQ(type_of([&] { return concat({}, 0); }), "concat: no operands");
  EXPECT_EQ(type_of([&] { return stack({x, x, x}, -1); }), "f32[4,6,3]");
  EXPECT_EQ(type_of([&] { return stack({x, x}); }), "f32[2,4,6]");
}

TEST_F(ShapeTest, Slice) {
  EXPECT_EQ(type_of([&] { return slice(x, {1, 0}, {4, 5}, {2, 2}); }), "f32[2,3]");
  EXPECT_EQ(type_of([&] { return slice(x, {4, 6}, {4, 6}); }), "f32[0,0]");
  EXPECT_EQ(type_of([&] { return slice_axis(images, 0, 0, batch, 2); }),
            "f32[((batch+1)//2),28,28,1]");
  EXPECT_EQ(type_of([&] { return slice_axis(images, -3, 2, 28); }), "f32[batch,26,28,1]");
  EXPECT_EQ(type_of([&] {
              return slice(x, {0, 3}, {4, 7});
            }),
            "slice: no slice 3:7 of axis 1 of f32[4,6]");
  EXPECT_EQ(type_of([&] {
              return slice(x, {3, 0}, {2, 6});
            }),
            "slice: no slice 3:2 of axis 0 of f32[4,6]");
  EXPECT_EQ(type_of([&] { return slice(x, {0}, {4}); }), "slice: 1 starts for f32[4,6]");
  EXPECT_EQ(type_of([&] {
              return slice(x, {0, 0}, {4, 6}, {1, 0});
            }),
            "slice: the step 0 is below 1");
  EXPECT_EQ(type_of([&] { return slice_axis(x, 2, 0, 1); }),
            "slice: axis 2 is out of range for f32[4,6]");
}

TEST_F(ShapeTest, Pad) {
  EXPECT_EQ(type_of([&] { return pad(x, {1, 0}, {2, 0}); }), "f32[7,6]");
  EXPECT_EQ(type_of([&] { return pad(x, {1, 0}, {2, 0}, {0, 2}, -1.5); }), "f32[7,16]");
  EXPECT_EQ(type_of([&] {
              return pad(images, {1, 2, 2, 0}, {0, 2, 2, 0});
            }),
            "f32[batch+1,32,32,1]");
  EXPECT_EQ(type_of([&] { return pad(argument(block, "none", "f32[0]"), {1}, {1}, {5}); }),
            "f32[2]");
  EXPECT_EQ(type_of([&] { return pad(x, {1}, {1, 1}); }), "pad: 1 low paddings for f32[4,6]");
  EXPECT_EQ(type_of([&] {
              return pad(x, {1, 1}, {1, 1}, {0, -1});
            }),
            "pad: negative interior padding -1");
}

TEST_F(ShapeTest, Split) {
  EXPECT_EQ(type_of([&] { return split(x, -1, {1, 2, 3}); }), "f32[4,1] f32[4,2] f32[4,3]");
  EXPECT_EQ(type_of([&] {
              return split(images, 0, {8, batch - 8});
            }),
            "f32[8,28,28,1] f32[batch-8,28,28,1]");
  EXPECT_EQ(type_of([&] {
              return split(x, 0, {1, 2});
            }),
            "split: the sizes [1,2] do not add up to axis 0 of f32[4,6]");
  EXPECT_EQ(type_of([&] { return split(x, 0, {}); }), "split: no sizes");
}

TEST_F(ShapeTest, SqueezeAndExpand) {
  const Value y = argument(block, "y", "f32[1,batch,1,3]");
  EXPECT_EQ(type_of([&] { return squeeze(y); }), "f32[batch,3]");
  EXPECT_EQ(type_of([&] { return squeeze(y, {-2}); }), "f32[1,batch,3]");
  EXPECT_EQ(type_of([&] { return squeeze(y, {1}); }),
            "squeeze: axis 1 of f32[1,batch,1,3] is not 1");
  EXPECT_EQ(type_of([&] { return squeeze(y, {0, -4}); }), "squeeze: axis 0 is named twice");
  EXPECT_EQ(type_of([&] { return expand_dims(x, {-1, 0}); }), "f32[1,4,6,1]");
  EXPECT_EQ(type_of([&] { return expand_dims(x, {3}); }),
            "expand_dims: axis 3 is out of range for rank 3: f32[4,6]");
}

TEST_F(ShapeTest, DimSizeAndConstants) {
  EXPECT_EQ(type_of([&] { return dim_size(images, -4); }), "i64[]");
  EXPECT_EQ(type_of([&] { return dim_size(images, 4); }),
            "dim_size: axis 4 is out of range for rank 4: f32[batch,28,28,1]");
  EXPECT_EQ(type_of([&] { return zeros_like(images); }), "f32[batch,28,28,1]");
  EXPECT_EQ(full(block, Type::parse("i32[]"), 7).node().op, &kConstant);
}

}  // namespace
}  // namespace adjoint
