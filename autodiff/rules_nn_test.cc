// Rules of products, convolution, pooling, normalisation, losses and random ops: types in first and
// second order, with symbolic dimensions, and which nodes they build. The op cases check numbers.
#include <gtest/gtest.h>

#include "autodiff/gradients.h"
#include "ops/builder.h"
#include "ops/conv.h"
#include "ops/linalg.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/random.h"
#include "ops/standard_ops.h"
#include "ops/test_support.h"

namespace adjoint {
namespace {

struct NnRules : testing::Test {
  Block block{"test"};

  Value v(std::string_view type) {
    return argument(block, "x" + std::to_string(block.size()), type);
  }
  // Gradients of the outputs, and gradients of those, all of the operands' types.
  void expect_types(const std::vector<Value>& outputs, const std::vector<Value>& wrt,
                    const GradientOptions& options = {}) {
    const auto first = gradients(outputs, wrt, {}, options);
    EXPECT_EQ(types_text(first), types_text(wrt)) << outputs[0].node().op->name;
    const auto second = gradients(first, wrt, {}, options);
    EXPECT_EQ(types_text(second), types_text(wrt)) << outputs[0].node().op->name;
  }
  // The gradient for one operand as "op(operands) {attributes}"; leaves by name, others by op.
  std::string gradient(Value y, Value wrt) {
    const Value g = gradients(
        {y}, {wrt}, {argument(block, "dy" + std::to_string(block.size()), to_text(y.type()))})[0];
    std::string text(g.node().op->name);
    for (size_t i = 0; i < g.node().operands.size(); ++i) {
      const Node& node = block.node(g.node().operands[i]);
      text += i == 0 ? "(" : ", ";
      text += node.op->traits.leaf ? leaf_name(node).substr(0, 2) : node.op->name;
    }
    return text + ")" + g.node().attributes.to_text();
  }
};

TEST_F(NnRules, ProductsOfAllTranspositions) {
  for (bool ta : {false, true}) {
    for (bool tb : {false, true}) {
      const Value a = v(ta ? "f32[b,k,m]" : "f32[b,m,k]"), b = v(tb ? "f32[n,k]" : "f32[k,n]");
      const MatmulAttributes attributes{ta, tb, DType::f64};
      const Value c = matmul(a, b, attributes);
      EXPECT_EQ(to_text(c.type()), "f32[b,m,n]");
      expect_types({c}, {a, b});
      const Value da = gradients({c}, {a})[0];
      EXPECT_EQ(da.node().op, &kMatmul);  // no transposed copies
      EXPECT_EQ(da.node().attributes.get<MatmulAttributes>().accumulate, DType::f64);
    }
  }
}

TEST_F(NnRules, ProductsAsUsedByADenseLayer) {
  const Value x = v("f32[batch,784]"), w = v("f32[784,10]");
  EXPECT_EQ(gradient(matmul(x, w), w), "matmul(x0, dy){ta=true}");
  EXPECT_EQ(gradient(matmul(x, w), x), "matmul(dy, x1){tb=true}");
}

TEST_F(NnRules, TheThreeConvolutionsDifferentiateIntoEachOther) {
  const Conv2dAttributes attributes{.stride = {2, 1}, .groups = 2};
  const Value x = v("f32[b,9,8,4]"), filter = v("f32[3,2,2,6]");
  const Value y = conv2d(x, filter, attributes);
  const std::string shared = "{stride=[2,1], groups=2";
  EXPECT_EQ(gradient(y, x), "conv2d_input_grad(dy, x1)" + shared + ", input=[b,9,8,4]}");
  EXPECT_EQ(gradient(y, filter), "conv2d_filter_grad(x0, dy)" + shared + ", filter=[3,2,2,6]}");
  const Value dy = v("f32[b,4,7,6]");
  const Value dx = conv2d_input_grad(dy, filter, x.shape(), attributes);
  EXPECT_EQ(gradient(dx, dy).substr(0, 11), "conv2d(dy, ");
  EXPECT_EQ(gradient(dx, filter).substr(0, 22), "conv2d_filter_grad(dy,");
  const Value df = conv2d_filter_grad(x, dy, filter.shape(), attributes);
  EXPECT_EQ(gradient(df, x).substr(0, 18), "conv2d_input_grad(");
  EXPECT_EQ(gradient(df, dy), "conv2d(x0, dy)" + shared + "}");
  expect_types({y}, {x, filter});
  expect_types({dx}, {dy, filter});
  expect_types({df}, {x, dy});
  const Value s = v("f32[b,h,w,3]"), k = v("f32[3,3,3,5]");
  expect_types({conv2d(s, k)}, {s, k});
  expect_types({conv2d_transpose(s, v("f32[3,3,5,3]"), {.stride = {2, 2}})}, {s});
}

TEST_F(NnRules, PoolingDifferentiatesIntoItsOwnOps) {
  const PoolAttributes pool{.window = {3, 2}, .stride = {2, 2}, .padding = Padding::same};
  const Value x = v("f32[b,9,8,4]"), dy = v("f32[b,5,4,4]");
  EXPECT_EQ(gradient(max_pool(x, pool), x).substr(0, 21), "max_pool_grad(dy, x0)");
  EXPECT_EQ(gradient(max_pool_grad(dy, x, pool), dy).substr(0, 21), "max_pool_pick(dy, x0)");
  EXPECT_EQ(gradient(max_pool_pick(x, v("f32[b,9,8,4]"), pool), x).substr(0, 18),
            "max_pool_grad(dy, ");
  const Value average = avg_pool(x, pool, true);
  EXPECT_EQ(gradient(average, x),
            "avg_pool_grad(dy){window=[3,2], stride=[2,2], padding=same, count_include_pad=true, "
            "input=[b,9,8,4]}");
  const Value back = avg_pool_grad(dy, x.shape(), pool, true);
  EXPECT_EQ(gradient(back, dy),
            "avg_pool(dy){window=[3,2], stride=[2,2], padding=same, count_include_pad=true}");
  expect_types({max_pool(x, pool)}, {x});
  expect_types({max_pool_grad(dy, x, pool)}, {dy, x});
  expect_types({average}, {x});
}

TEST_F(NnRules, WinnersHaveNoGradient) {
  const PoolAttributes pool{.window = {2, 2}};
  const Value x = v("f32[b,8,8,4]"), dy = v("f32[b,4,4,4]");
  std::vector<size_t> unreached;
  gradients({max_pool_grad(dy, x, pool)}, {dy, x}, {}, {}, &unreached);
  EXPECT_EQ(unreached, std::vector<size_t>{1});
}

size_t count_of_op(const Block& block, const OpDef& op) {
  size_t count = 0;
  for (size_t n = 0; n < block.size(); ++n) count += block.node(static_cast<int32_t>(n)).op == &op;
  return count;
}

TEST_F(NnRules, BatchNormSharesOneGradientNode) {
  const Value x = v("f32[b,4,4,3]"), c = v("f32[3]"), d = v("f32[3]");
  const Normalized n = batch_norm(x, c, d);
  const auto g = gradients({n.y}, {x, c, d});
  EXPECT_EQ(count_of_op(block, kBatchNormGrad), 1u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(g[i], g[0].output(i));
}

TEST_F(NnRules, StatisticsHaveGradientsToo) {
  const Value x = v("f32[b,4,4,3]"), c = v("f32[3]"), d = v("f32[3]");
  const Normalized n = batch_norm(x, c, d);
  std::vector<size_t> unreached;
  gradients({n.mean, n.variance}, {x, c, d}, {}, {}, &unreached);
  EXPECT_EQ(count_of_op(block, kBatchNormGrad), 0u);
  for (const std::vector<Value>& outputs : std::vector<std::vector<Value>>{
           {n.y}, {n.mean}, {n.variance}, {n.y, n.mean}, {n.y, n.mean, n.variance}}) {
    expect_types(outputs, {x, c, d});
  }
  for (const char* type : {"f32[b,t,3]", "f32[3]"}) {
    const Value rows = v(type);
    const Normalized r = layer_norm(rows, c, d);
    for (const std::vector<Value>& outputs :
         std::vector<std::vector<Value>>{{r.y}, {r.mean}, {r.variance}, {r.y, r.variance}}) {
      expect_types(outputs, {rows, c, d});
    }
  }
}

TEST_F(NnRules, NormalisationOfAllTypesAndItsGradients) {
  for (const std::string dtype : {"f32", "f64", "bf16", "f16"}) {
    const Value x = v(dtype + "[b,4,3]"), dy = v(dtype + "[b,4,3]");
    const Value c = v(dtype + "[3]"), d = v(dtype + "[3]"), e = v(dtype + "[3]");
    const Value m = v(dtype + "[b,4]"), s = v(dtype + "[b,4]");
    const Normalized n = batch_norm(x, c, d);
    expect_types({n.y, n.mean, n.variance}, {x, c, d});
    expect_types({batch_norm_inference(x, c, d, d, e)}, {x, c, d, e});
    const NormGradients g = batch_norm_grad(dy, x, c, d, e);
    expect_types({g.x, g.scale, g.offset}, {dy, x, c, d, e});
    const NormGradients r = layer_norm_grad(dy, x, c, m, s);
    expect_types({r.x, r.scale, r.offset}, {dy, x, c, m, s});
    expect_types({softmax(x, 1)}, {x});
    expect_types({log_softmax(x)}, {x});
  }
}

// With the rules of composites taken away, their decompositions give gradients of the same types.
TEST_F(NnRules, DecompositionsAreDifferentiable) {
  const RuleSet all = standard_rules();
  RuleSet primitives;
  for (const OpDef* op : standard_ops().all()) {
    const auto* entries = all.find(*op);
    if (entries && !op->decompose) primitives.add(*op, *entries);
  }
  const Value x = v("f32[b,4,3]"), c = v("f32[3]"), d = v("f32[3]"), labels = v("i64[b,4]");
  const Normalized n = batch_norm(x, c, d), r = layer_norm(x, c, d);
  expect_types({n.y, n.mean, n.variance}, {x, c, d}, {&primitives});
  expect_types({r.y, r.mean, r.variance}, {x, c, d}, {&primitives});
  for (const Value& y :
       {softmax(x), log_softmax(x, 0), dropout(x, v("i64[]")), softmax_cross_entropy(x, labels)}) {
    expect_types({y}, {x}, {&primitives});
  }
}

TEST_F(NnRules, Losses) {
  const Value logits = v("f32[batch,10]"), labels = v("i64[batch]"), dense = v("f32[batch,10]");
  const Value dloss = v("f32[batch]");
  const Value loss = softmax_cross_entropy(logits, labels);
  EXPECT_EQ(gradient(loss, logits).substr(0, 35), "softmax_cross_entropy_grad(dy, x0, ");
  expect_types({loss}, {logits});
  expect_types({softmax_cross_entropy_grad(dloss, logits, labels)}, {dloss, logits});
  expect_types({softmax_cross_entropy_dense(logits, dense)}, {logits, dense});
  for (auto* f : {mean_squared_error, l1_loss, l2_loss, binary_cross_entropy_with_logits}) {
    expect_types({f(logits, dense)}, {logits, dense});
  }
}

TEST_F(NnRules, DropoutKeepsTheSameElements) {
  const Value x = v("f32[batch,10]"), key = v("i64[]");
  EXPECT_EQ(gradient(dropout(x, key, 0.25, 7), x), "dropout(dy, x1){rate=0.25, stream=7}");
  expect_types({dropout(x, key)}, {x});
}

}  // namespace
}  // namespace adjoint
