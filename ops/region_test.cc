#include "ops/region.h"

#include <gtest/gtest.h>

#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/standard_ops.h"
#include "ops/test_support.h"

namespace adjoint {
namespace {

struct RegionTest : testing::Test {
  Block block{"test"};
  Value x = argument(block, "x", "f32[batch,3]");
  std::shared_ptr<Block> body = std::make_shared<Block>("body");
  Value a = argument(*body, "a", "f32[batch,3]");
};

TEST_F(RegionTest, OutputsAreTheBodysResults) {
  const Value e = exp(a);
  body->result("e", e);
  body->result("total", sum(e, {1}));
  const Value y = region(block, std::vector<Value>{x}, body);
  ASSERT_EQ(y.node().types.size(), 2u);
  EXPECT_EQ(to_text(y.type()), "f32[batch,3]");
  EXPECT_EQ(to_text(y.output(1).type()), "f32[batch]");
}

TEST_F(RegionTest, OperandsMatchTheArguments) {
  EXPECT_EQ(type_of([&] { return region(block, std::vector<Value>{x}, body); }),
            "region: the body has no result");
  body->result("y", -a);
  EXPECT_EQ(type_of([&] {
              return region(block, std::vector<Value>{x, x}, body);
            }),
            "region: the body has 1 arguments for 2 operands");
  EXPECT_EQ(type_of([&] {
              return region(block, std::vector<Value>{argument(block, "z", "f32[3]")}, body);
            }),
            "region: operand 0 is f32[3], the body's argument f32[batch,3]");
  EXPECT_EQ(type_of([&] { return block.add(kRegion, {}, {}, std::source_location::current()); }),
            "region: owns one block, not 0");
}

TEST(Region, WhatFits) {
  std::string fits;
  for (const OpDef* op : standard_ops().all()) {
    if (fits_region(*op) && !op->traits.elementwise) fits += std::string(op->name) + " ";
  }
  EXPECT_EQ(fits, "broadcast_to constant logsumexp max mean min prod sum sum_to variance ");
}

// What the parser needs: each op once, with a name of its own.
TEST(StandardOps, AreWellFormed) {
  const OpSet ops = standard_ops();
  EXPECT_GE(ops.all().size(), 90u);
  for (const OpDef* op : ops.all()) {
    EXPECT_NE(op->infer, nullptr) << op->name;
    EXPECT_TRUE(op->max_operands == kAnyNumber || op->min_operands <= op->max_operands) << op->name;
    EXPECT_TRUE(!op->traits.commutative || op->max_operands == 2) << op->name;
  }
  EXPECT_EQ(ops.find("add"), &kAdd);
}

}  // namespace
}  // namespace adjoint
