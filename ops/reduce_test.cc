#include "ops/reduce.h"

#include <gtest/gtest.h>

#include "ops/builder.h"
#include "ops/test_support.h"

namespace adjoint {
namespace {

struct ReduceTest : testing::Test {
  Block block{"test"};
  Value x = argument(block, "x", "f32[batch,28,3]");
  Value i = argument(block, "i", "i32[4,5]");
  Value p = argument(block, "p", "bool[2]");
};

TEST_F(ReduceTest, AxesGoOrStayAsOne) {
  for (auto* f : {sum, mean, max, min, prod, variance, logsumexp}) {
    EXPECT_EQ(to_text(f(x, {}, false).type()), "f32[]");
    EXPECT_EQ(to_text(f(x, {}, true).type()), "f32[1,1,1]");
    EXPECT_EQ(to_text(f(x, {-1, 0}, false).type()), "f32[28]");
    EXPECT_EQ(to_text(f(x, {1}, true).type()), "f32[batch,1,3]");
    EXPECT_EQ(
        to_text(f(argument(block, "s" + std::to_string(block.size()), "f32[]"), {}, false).type()),
        "f32[]");
  }
}

TEST_F(ReduceTest, AttributesAreStoredInOneForm) {
  const auto stored = [](Value y) { return y.node().attributes.to_text(); };
  EXPECT_EQ(stored(sum(x)), "{axes=[0,1,2]}");
  EXPECT_EQ(stored(sum(x, {-1, 0})), "{axes=[0,2]}");
  EXPECT_EQ(stored(argmax(x, -1, true)), "{axis=2, keep=true}");
}

TEST_F(ReduceTest, Errors) {
  EXPECT_EQ(type_of([&] { return sum(x, {3}); }),
            "sum: axis 3 is out of range for rank 3: f32[batch,28,3]");
  EXPECT_EQ(type_of([&] { return sum(x, {1, -2}); }), "sum: axis 1 is named twice");
  EXPECT_EQ(type_of([&] { return max(p); }), "max: operand 0 is bool[2], not a number type");
  EXPECT_EQ(type_of([&] { return sum(i, {0}); }), "i32[5]");
  for (auto* f : {mean, variance, logsumexp}) {
    EXPECT_NE(error_of([&] { f(i, {}, false); }).find("operand 0 is i32[4,5], not a float type"),
              std::string::npos);
  }
  EXPECT_EQ(type_of([&] { return mean(Value()); }), "mean: operand 0 is an empty value");
  // Not what a builder stores, but what a dump may hold.
  EXPECT_EQ(type_of([&] {
              return build(kSum, x, {}, ReduceAttributes{{1, 0}});
            }),
            "sum: the axes are not sorted");
  EXPECT_EQ(type_of([&] { return build(kSum, x, {}, ReduceAttributes{{-1}}); }),
            "sum: axis -1 is out of range for rank 3: f32[batch,28,3]");
}

TEST_F(ReduceTest, ArgReductions) {
  EXPECT_EQ(type_of([&] { return argmax(x, -1); }), "i64[batch,28]");
  EXPECT_EQ(type_of([&] { return argmin(i, 0, true); }), "i64[1,5]");
  EXPECT_EQ(type_of([&] { return argmax(argument(block, "none", "f32[3,0]"), 1); }),
            "argmax: axis 1 of f32[3,0] is empty");
  EXPECT_EQ(type_of([&] { return argmax(argument(block, "empty", "f32[3,0]"), 0); }), "i64[0]");
}

TEST_F(ReduceTest, CountOf) {
  const Value known = count_of(x, {1, 2}, DType::f32);
  EXPECT_EQ(known.node().op, &kConstant);
  EXPECT_EQ(known.node().attributes.to_text(), "{value=f32[]{84}}");
  EXPECT_EQ(to_text(count_of(x, {0, 1}, DType::f64).type()), "f64[]");
  EXPECT_EQ(count_of(x, {0}, DType::i64).node().op->name, "dim_size");
  EXPECT_EQ(count_of(x, {}, DType::i64).node().attributes.to_text(), "{value=i64[]{1}}");
}

TEST_F(ReduceTest, DecompositionsHaveTheTypesOfTheOp) {
  for (const OpDef* op : {&kMean, &kVariance, &kLogsumexp}) {
    for (const char* type : {"f32[n,3,2]", "f64[n,3,2]", "bf16[n,3,2]", "f16[2,3,n]", "f32[]"}) {
      for (bool keep : {false, true}) {
        Block aside("test");
        const Value y = argument(aside, "y", type);
        const std::vector<int64_t> axes =
            y.rank() == 0 ? std::vector<int64_t>{} : std::vector<int64_t>{0, 2};
        const Attributes attributes = ReduceAttributes{axes, keep};
        const Value whole = build(*op, y, {}, attributes);
        EXPECT_EQ(types_text(op->decompose(std::vector<Value>{y}, attributes)), types_text(whole))
            << op->name;
      }
    }
  }
}

}  // namespace
}  // namespace adjoint
