#include "ops/random.h"

#include <gtest/gtest.h>

#include <limits>

#include "ops/builder.h"
#include "ops/test_support.h"

namespace adjoint {
namespace {

struct RandomTest : testing::Test {
  Block block{"test"};
  Value key = v("i64[]");
  const double nan = std::numeric_limits<double>::quiet_NaN();

  Value v(std::string_view type) {
    return argument(block, "x" + std::to_string(block.size()), type);
  }
};

TEST_F(RandomTest, Shapes) {
  const Type noise = Type::parse("bf16[batch,3]");
  EXPECT_EQ(types_text(fold_in(key, key)), "i64[]");
  EXPECT_EQ(types_text(uniform(key, noise, -1, 1, 7)), "bf16[batch,3]");
  EXPECT_EQ(types_text(normal(key, Type::parse("f64[2,0]"), 5, 0)), "f64[2,0]");
  EXPECT_EQ(types_text(bernoulli(key, {4, Dim::symbol("n")}, 1)), "bool[4,n]");
  EXPECT_EQ(types_text(dropout(v("f32[batch,512]"), key, 0)), "f32[batch,512]");
  EXPECT_EQ(types_text(permute_index(key, v("i64[batch]"), Dim::symbol("images"))), "i64[batch]");
  EXPECT_EQ(uniform(key, noise, -1, 1, 7).node().attributes.to_text(),
            "{shape=[batch,3], dtype=bf16, low=-1, stream=7}");
}

TEST_F(RandomTest, DropoutsDecompositionHasTheSameType) {
  const Value x = v("f16[batch,512]");
  const Value y = dropout(x, key, 0.25, 3);
  const std::vector<Value> parts = kDropout.decompose(std::vector{x, key}, y.node().attributes);
  EXPECT_EQ(types_text(parts), "f16[batch,512]");
}

TEST_F(RandomTest, Errors) {
  const Type type = Type::parse("f32[3]");
  EXPECT_EQ(type_of([&] { return uniform(v("i32[]"), type); }),
            "uniform: the key is i32[], not i64[]");
  EXPECT_EQ(type_of([&] { return normal(v("i64[1]"), type); }),
            "normal: the key is i64[1], not i64[]");
  EXPECT_EQ(type_of([&] { return fold_in(key, v("i32[]")); }),
            "fold_in: operand 1 is i32[], not i64[]");
  EXPECT_EQ(type_of([&] { return uniform(key, Type::parse("i64[3]")); }),
            "uniform: makes floats, not i64[3]");
  EXPECT_EQ(type_of([&] { return uniform(key, type, 1, 0); }), "uniform: no range: from 1 to 0");
  EXPECT_EQ(type_of([&] { return uniform(key, type, 0, nan); }),
            "uniform: no range: from 0 to nan");
  EXPECT_EQ(type_of([&] { return uniform(key, type, -3e38, 3e38); }),
            "uniform: no range: from -3e+38 to 3e+38");
  EXPECT_EQ(type_of([&] { return uniform(key, type, 0, 1, -1); }),
            "uniform: stream is -1, not 0 or more");
  EXPECT_EQ(type_of([&] { return normal(key, type, 0, -1); }),
            "normal: no distribution: mean 0, deviation -1");
  EXPECT_EQ(type_of([&] { return bernoulli(key, {3}, 1.5); }),
            "bernoulli: p is 1.5, not from 0 to 1");
  EXPECT_EQ(type_of([&] { return bernoulli(key, {3}, nan); }),
            "bernoulli: p is nan, not from 0 to 1");
  EXPECT_EQ(type_of([&] { return dropout(v("f32[3]"), key, 1); }),
            "dropout: rate is 1, not from 0 to below 1");
  EXPECT_EQ(type_of([&] { return dropout(v("i32[3]"), key); }),
            "dropout: operand 0 is i32[3], not a float type");
  EXPECT_EQ(type_of([&] { return permute_index(key, v("i32[3]"), 10); }),
            "permute_index: operand 1 is i32[3], not i64");
  EXPECT_EQ(type_of([&] { return permute_index(key, v("i64[3]"), 0); }),
            "permute_index: n is 0, not at least 1");
}

TEST_F(RandomTest, StreamsOfNamesAreFixedAndDiffer) {
  EXPECT_EQ(stream_of(""), 0xcbf29ce484222325u >> 1);   // FNV-1a's offset basis
  EXPECT_EQ(stream_of("a"), 0xaf63dc4c8601ec8cu >> 1);  // its published value for "a"
  EXPECT_NE(stream_of("conv1/filter"), stream_of("conv2/filter"));
}

}  // namespace
}  // namespace adjoint
