#include "ops/indexing.h"

#include <gtest/gtest.h>

#include "ops/test_support.h"

namespace adjoint {
namespace {

struct IndexingTest : testing::Test {
  Block block{"test"};
  Value data = argument(block, "data", "u8[60000,28,28]");
  Value table = argument(block, "table", "f32[5,7]");
  Value indices = argument(block, "indices", "i64[batch]");
  Value pairs = argument(block, "pairs", "i32[2,3]");
};

TEST_F(IndexingTest, Gather) {
  EXPECT_EQ(type_of([&] { return gather(data, indices); }), "u8[batch,28,28]");
  EXPECT_EQ(type_of([&] { return gather(table, pairs, -1); }), "f32[5,2,3]");
  EXPECT_EQ(type_of([&] { return gather(table, pairs, 0); }), "f32[2,3,7]");
  EXPECT_EQ(type_of([&] { return gather(table, argument(block, "i", "i64[]")); }), "f32[7]");
  EXPECT_EQ(type_of([&] { return gather(table, table); }),
            "gather: operand 1 is f32[5,7], not an integer type");
  EXPECT_EQ(type_of([&] { return gather(table, pairs, 2); }),
            "gather: axis 2 is out of range for rank 2: f32[5,7]");
  EXPECT_TRUE(kGather.traits.data_checked);
}

TEST_F(IndexingTest, ScatterAdd) {
  const Value updates = argument(block, "updates", "f32[5,2,3]");
  EXPECT_EQ(type_of([&] { return scatter_add(table, pairs, updates, 1); }), "f32[5,7]");
  EXPECT_EQ(type_of([&] { return scatter_add(table, pairs, updates, 0); }),
            "scatter_add: the updates are f32[5,2,3], not f32[2,3,7]");
  EXPECT_EQ(type_of([&] { return scatter_add(table, updates, updates); }),
            "scatter_add: operand 1 is f32[5,2,3], not an integer type");
  EXPECT_TRUE(kScatterAdd.traits.data_checked);
}

TEST_F(IndexingTest, OneHotAndIota) {
  EXPECT_EQ(type_of([&] { return one_hot(indices, 10); }), "f32[batch,10]");
  EXPECT_EQ(type_of([&] { return one_hot(pairs, Dim::symbol("n"), DType::u8); }), "u8[2,3,n]");
  EXPECT_EQ(type_of([&] { return one_hot(table, 10); }),
            "one_hot: operand 0 is f32[5,7], not an integer type");
  EXPECT_EQ(type_of([&] { return iota(block, {Dim::symbol("n")}); }), "i64[n]");
  EXPECT_EQ(type_of([&] { return iota(block, {2, 3}, -1, DType::bf16); }), "bf16[2,3]");
  EXPECT_EQ(type_of([&] { return iota(block, {}); }), "iota: axis 0 is out of range for rank 0");
  EXPECT_EQ(type_of([&] { return iota(block, {2}, 0, DType::boolean); }),
            "iota: bool is not a number type");
}

TEST_F(IndexingTest, DynamicSlices) {
  const Value at = argument(block, "at", "i64[]");
  const Value update = argument(block, "update", "f32[2,3]");
  EXPECT_EQ(type_of([&] { return dynamic_slice(table, {at, at}, {2, 3}); }), "f32[2,3]");
  EXPECT_EQ(type_of([&] { return dynamic_update_slice(table, update, {at, at}); }), "f32[5,7]");
  EXPECT_EQ(type_of([&] {
              return dynamic_slice(table, {at}, {2, 3});
            }),
            "dynamic_slice: 1 starts for f32[5,7]");
  EXPECT_EQ(type_of([&] {
              return dynamic_slice(table, {at, at}, {2});
            }),
            "dynamic_slice: a window [2] of f32[5,7]");
  EXPECT_EQ(type_of([&] {
              return dynamic_slice(table, {at, at}, {6, 3});
            }),
            "dynamic_slice: the window [6,3] does not fit f32[5,7]");
  EXPECT_EQ(type_of([&] {
              return dynamic_slice(table, {at, indices}, {2, 3});
            }),
            "dynamic_slice: operand 2 is i64[batch], not of rank 0");
  EXPECT_EQ(type_of([&] {
              return dynamic_update_slice(table, data, {at, at});
            }),
            "dynamic_update_slice: element types differ: f32[5,7] and u8[60000,28,28] (use cast)");
}

}  // namespace
}  // namespace adjoint
