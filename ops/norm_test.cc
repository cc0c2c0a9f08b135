#include "ops/norm.h"

#include <gtest/gtest.h>

#include "ops/builder.h"
#include "ops/test_support.h"

namespace adjoint {
namespace {

// The decomposition's output types, which must be those of the op itself.
void expect_same_types(Value node) {
  std::vector<Value> operands;
  for (ValueId id : node.node().operands) operands.emplace_back(node.block(), id);
  const std::vector<Value> parts = node.node().op->decompose(operands, node.node().attributes);
  EXPECT_EQ(types_text(parts), types_text(outputs_of(node))) << node.node().op->name;
}

struct NormTest : testing::Test {
  Block block{"test"};
  Value x = v("f32[batch,24,24,24]");
  Value c = v("f32[24]");

  Value v(std::string_view type) {
    return argument(block, "x" + std::to_string(block.size()), type);
  }
};

TEST_F(NormTest, BatchNorm) {
  const Normalized n = batch_norm(x, c, c);
  EXPECT_EQ(types_text({n.y, n.mean, n.variance}), "f32[batch,24,24,24] f32[24] f32[24]");
  EXPECT_EQ(n.y.node().attributes.to_text(), "");
  const NormGradients g = batch_norm_grad(n.y, x, c, n.mean, n.variance, 0.5);
  EXPECT_EQ(types_text({g.x, g.scale, g.offset}), "f32[batch,24,24,24] f32[24] f32[24]");
  EXPECT_EQ(g.x.node().attributes.to_text(), "{epsilon=0.5}");
  EXPECT_EQ(types_text(batch_norm_inference(x, c, c, c, c)), "f32[batch,24,24,24]");
  EXPECT_EQ(types_text(batch_norm(v("f64[0,3]"), v("f64[3]"), v("f64[3]")).y), "f64[0,3]");
}

TEST_F(NormTest, LayerNorm) {
  const Value s = v("f32[b,t,8]"), d = v("f32[8]");
  const Normalized n = layer_norm(s, d, d);
  EXPECT_EQ(types_text({n.y, n.mean, n.variance}), "f32[b,t,8] f32[b,t] f32[b,t]");
  const NormGradients g = layer_norm_grad(n.y, s, d, n.mean, n.variance);
  EXPECT_EQ(types_text({g.x, g.scale, g.offset}), "f32[b,t,8] f32[8] f32[8]");
}

TEST_F(NormTest, DecompositionsHaveTheSameTypes) {
  const Normalized n = batch_norm(x, c, c);
  expect_same_types(n.y);
  expect_same_types(batch_norm_grad(n.y, x, c, n.mean, n.variance).x);
  expect_same_types(batch_norm_inference(x, c, c, c, c));
  for (const char* type : {"f32[b,t,8]", "f32[b,8]", "f32[8]"}) {
    const Value s = v(type), d = v("f32[8]");
    const Normalized rows = layer_norm(s, d, d);
    expect_same_types(rows.y);
    expect_same_types(layer_norm_grad(rows.y, s, d, rows.mean, rows.variance).x);
    expect_same_types(softmax(s));
    expect_same_types(log_softmax(s, 0));
  }
}

TEST_F(NormTest, SoftmaxStoresItsAxisFromTheFront) {
  EXPECT_EQ(softmax(x).node().attributes.to_text(), "{axis=3}");
  EXPECT_EQ(log_softmax(x, -2).node().attributes.to_text(), "{axis=2}");
}

TEST_F(NormTest, Errors) {
  EXPECT_EQ(type_of([&] { return batch_norm(x, v("f32[25]"), c).y; }),
            "batch_norm: operand 1 is f32[25], not of shape [24] as the input f32[batch,24,24,24] "
            "demands");
  EXPECT_EQ(type_of([&] { return batch_norm(c, c, c).y; }),
            "batch_norm: operand 0 is f32[24], not of rank 2 or more");
  EXPECT_EQ(type_of([&] { return batch_norm(x, c, v("f64[24]")).y; }),
            "batch_norm: element types differ: f32[batch,24,24,24] and f64[24] (use cast)");
  EXPECT_EQ(type_of([&] { return batch_norm(x, c, c, -1).y; }),
            "batch_norm: epsilon is -1, not 0 or more");
  EXPECT_EQ(type_of([&] { return batch_norm_grad(c, x, c, c, c).x; }),
            "batch_norm_grad: operand 0 is f32[24], not of rank 2 or more");
  EXPECT_EQ(type_of([&] { return batch_norm_grad(x, v("f32[2,24]"), c, c, c).x; }),
            "batch_norm_grad: operand 1 is f32[2,24], not of shape [batch,24,24,24] as the input "
            "f32[batch,24,24,24] demands");
  EXPECT_EQ(type_of([&] { return batch_norm_inference(x, c, c, c, v("f32[1]")); }),
            "batch_norm_inference: operand 4 is f32[1], not of shape [24] as the input "
            "f32[batch,24,24,24] demands");
  EXPECT_EQ(type_of([&] { return layer_norm(v("f32[]"), c, c).y; }),
            "layer_norm: operand 0 is f32[], not of rank 1 or more");
  EXPECT_EQ(type_of([&] { return layer_norm_grad(x, x, c, c, c).x; }),
            "layer_norm_grad: operand 3 is f32[24], not of shape [batch,24,24] as the input "
            "f32[batch,24,24,24] demands");
  EXPECT_EQ(type_of([&] { return softmax(x, 4); }),
            "softmax: axis 4 is out of range for rank 4: f32[batch,24,24,24]");
  EXPECT_EQ(type_of([&] { return softmax(v("f32[]")); }),
            "softmax: axis -1 is out of range for rank 0: f32[]");
  EXPECT_EQ(type_of([&] { return log_softmax(v("i32[3]")); }),
            "log_softmax: operand 0 is i32[3], not a float type");
  EXPECT_EQ(type_of([&] { return softmax(Value()); }), "softmax: operand 0 is an empty value");
}

}  // namespace
}  // namespace adjoint
