#include "ops/linalg.h"

#include <gtest/gtest.h>

#include "ops/test_support.h"

namespace adjoint {
namespace {

struct LinalgTest : testing::Test {
  Block block{"test"};

  Value v(std::string_view type) {
    return argument(block, "x" + std::to_string(block.size()), type);
  }
  std::string product(std::string_view a, std::string_view b, MatmulAttributes attributes = {}) {
    return type_of([&] { return matmul(v(a), v(b), attributes); });
  }
};

TEST_F(LinalgTest, Shapes) {
  EXPECT_EQ(product("f32[batch,784]", "f32[784,10]"), "f32[batch,10]");
  EXPECT_EQ(product("f64[5,2,3]", "f64[3,4]"), "f64[5,2,4]");
  EXPECT_EQ(product("bf16[2,3]", "bf16[7,5,3,4]"), "bf16[7,5,2,4]");
  EXPECT_EQ(product("f16[b,1,2,3]", "f16[5,3,4]"), "f16[b,5,2,4]");
  EXPECT_EQ(product("f32[2,0]", "f32[0,3]"), "f32[2,3]");
  EXPECT_EQ(product("f32[0,2]", "f32[2,3]"), "f32[0,3]");
}

TEST_F(LinalgTest, TransposedOperands) {
  EXPECT_EQ(product("f32[3,2]", "f32[3,4]", {.transpose_a = true}), "f32[2,4]");
  EXPECT_EQ(product("f32[2,3]", "f32[4,3]", {.transpose_b = true}), "f32[2,4]");
  EXPECT_EQ(product("f32[6,3,2]", "f32[4,3]", {.transpose_a = true, .transpose_b = true}),
            "f32[6,2,4]");
  const Value y = matmul(v("f32[2,3]"), v("f32[2,3]"), {.transpose_b = true});
  EXPECT_EQ(y.node().attributes.to_text(), "{tb=true}");
}

TEST_F(LinalgTest, Errors) {
  EXPECT_EQ(product("f32[batch,784]", "f32[512,10]"),
            "matmul: inner dimensions differ: f32[batch,784] x f32[512,10] (784 and 512)");
  EXPECT_EQ(product("f32[2,3]", "f32[3,4]", {.transpose_a = true}),
            "matmul: inner dimensions differ: f32[2,3] x f32[3,4], a transposed (2 and 3)");
  EXPECT_EQ(product("f32[n,m]", "f32[n,m]"),
            "matmul: inner dimensions differ: f32[n,m] x f32[n,m] (m and n)");
  EXPECT_EQ(product("f32[3]", "f32[3,4]"), "matmul: an operand is no matrix: f32[3] x f32[3,4]");
  EXPECT_EQ(product("f32[2,3]", "f32[]"), "matmul: an operand is no matrix: f32[2,3] x f32[]");
  EXPECT_EQ(product("f32[5,2,3]", "f32[4,3,4]"),
            "matmul: leading dimensions do not broadcast: f32[5,2,3] x f32[4,3,4]");
  EXPECT_EQ(product("f32[2,3]", "f64[3,4]"),
            "matmul: element types differ: f32[2,3] and f64[3,4] (use cast)");
  EXPECT_EQ(product("i32[2,3]", "i32[3,4]"), "matmul: operand 0 is i32[2,3], not a float type");
  EXPECT_EQ(product("f32[2,3]", "f32[3,4]", {.accumulate = DType::bf16}),
            "matmul: accumulate is bf16, not f32 or f64");
  EXPECT_EQ(type_of([&] { return matmul(Value(), v("f32[3,4]")); }),
            "matmul: operand 0 is an empty value");
  EXPECT_EQ(type_of([&] { return matmul(v("f32[3,4]"), Value()); }),
            "matmul: operand 1 is an empty value");
}

TEST_F(LinalgTest, AFailedCallAddsNothing) {
  const Value a = v("f32[2,3]");
  const size_t before = block.size();
  EXPECT_THROW(matmul(a, a), GraphError);
  EXPECT_EQ(block.size(), before);
}

}  // namespace
}  // namespace adjoint
