#include "ops/loss.h"

#include <gtest/gtest.h>

#include "ops/builder.h"
#include "ops/test_support.h"

namespace adjoint {
namespace {

struct LossTest : testing::Test {
  Block block{"test"};
  Value logits = v("f32[batch,10]");
  Value labels = v("i64[batch]");

  Value v(std::string_view type) {
    return argument(block, "x" + std::to_string(block.size()), type);
  }
};

TEST_F(LossTest, CrossEntropyShapes) {
  EXPECT_EQ(types_text(softmax_cross_entropy(logits, labels)), "f32[batch]");
  EXPECT_EQ(types_text(softmax_cross_entropy(v("f64[10]"), v("u8[]"))), "f64[]");
  EXPECT_EQ(types_text(softmax_cross_entropy(v("f32[b,t,10]"), v("i32[b,t]"))), "f32[b,t]");
  EXPECT_EQ(types_text(softmax_cross_entropy_grad(v("f32[batch]"), logits, labels)),
            "f32[batch,10]");
  EXPECT_EQ(types_text(softmax_cross_entropy_dense(logits, logits)), "f32[batch]");
  EXPECT_TRUE(kSoftmaxCrossEntropy.traits.data_checked);
  EXPECT_TRUE(kSoftmaxCrossEntropyGrad.traits.data_checked);
}

TEST_F(LossTest, DecompositionsHaveTheSameTypes) {
  const Value loss = softmax_cross_entropy(logits, labels);
  for (const Value& node : {loss, softmax_cross_entropy_grad(loss, logits, labels),
                            softmax_cross_entropy_dense(logits, logits)}) {
    std::vector<Value> operands;
    for (ValueId id : node.node().operands) operands.emplace_back(block, id);
    EXPECT_EQ(types_text(node.node().op->decompose(operands, {})), types_text(node));
  }
}

TEST_F(LossTest, MeanLossesAreScalarsOfOneScope) {
  const Value p = v("f32[batch,3]"), t = v("f32[batch,3]");
  const char* scopes[] = {"mean_squared_error", "l1_loss", "l2_loss", "binary_cross_entropy"};
  size_t i = 0;
  for (auto* loss : {mean_squared_error, l1_loss, l2_loss, binary_cross_entropy_with_logits}) {
    const size_t before = block.size();
    const int line = __LINE__ + 1;
    EXPECT_EQ(types_text(loss(p, t)), "f32[]");
    for (size_t n = before; n < block.size(); ++n) {
      const OriginEntry& origin = block.node(static_cast<int32_t>(n)).origin->front();
      EXPECT_EQ(origin.scope, scopes[i]);
      EXPECT_EQ(origin.where.line, line);
    }
    ++i;
  }
}

TEST_F(LossTest, AFailedLossLeavesNothing) {
  const Value p = v("f32[batch,3]"), t = v("f32[batch,4]");
  const size_t size = block.size();
  for (auto* loss : {mean_squared_error, l1_loss, l2_loss, binary_cross_entropy_with_logits}) {
    EXPECT_THROW(loss(p, t), GraphError);
    EXPECT_EQ(block.size(), size);
  }
}

TEST_F(LossTest, Errors) {
  EXPECT_EQ(type_of([&] { return softmax_cross_entropy(logits, v("i64[5]")); }),
            "softmax_cross_entropy: labels i64[5] do not fit logits f32[batch,10]");
  EXPECT_EQ(type_of([&] { return softmax_cross_entropy(logits, v("f32[batch]")); }),
            "softmax_cross_entropy: operand 1 is f32[batch], not an integer type");
  EXPECT_EQ(type_of([&] { return softmax_cross_entropy(v("f32[4,0]"), v("i64[4]")); }),
            "softmax_cross_entropy: the logits have no classes: f32[4,0]");
  EXPECT_EQ(type_of([&] { return softmax_cross_entropy(v("f32[]"), v("i64[]")); }),
            "softmax_cross_entropy: the logits have no classes: f32[]");
  EXPECT_EQ(type_of([&] { return softmax_cross_entropy_grad(v("f32[3]"), logits, labels); }),
            "softmax_cross_entropy_grad: the gradient is f32[3], which does not fit logits "
            "f32[batch,10]");
  EXPECT_EQ(type_of([&] { return softmax_cross_entropy_dense(logits, labels); }),
            "softmax_cross_entropy_dense: targets i64[batch] do not fit logits f32[batch,10]");
  EXPECT_EQ(type_of([&] { return mean_squared_error(v("f32[2]"), v("f32[3]")); }),
            "sub: shapes do not broadcast: f32[2] and f32[3] (2 and 3)");
  EXPECT_EQ(type_of([&] { return l1_loss(Value(), logits); }), "sub: operand 0 is an empty value");
  EXPECT_EQ(type_of([&] { return binary_cross_entropy_with_logits(logits, Value()); }),
            "sub: operand 1 is an empty value");
}

}  // namespace
}  // namespace adjoint
