// What holds for the rules of all standard ops. That they are right, the op cases check in numbers.
#include "autodiff/rules.h"

#include <gtest/gtest.h>

#include "autodiff/gradients.h"
#include "ops/builder.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/standard_ops.h"
#include "ops/test_support.h"

namespace adjoint {
namespace {

// An op with operands has a rule or a reason for each, or can be decomposed. Regions are made after
// differentiation.
TEST(Rules, CoverAllStandardOps) {
  const RuleSet rules = standard_rules();
  for (const OpDef* op : standard_ops().all()) {
    if (op->max_operands == 0 || op->traits.owns_blocks) continue;
    const auto* entries = rules.find(*op);
    EXPECT_TRUE(entries != nullptr || op->decompose != nullptr) << op->name;
    if (entries == nullptr) continue;
    for (const OperandRule& entry : *entries) {
      EXPECT_NE(entry.rule == nullptr, entry.reason == std::nullopt) << op->name;
    }
    if (op->max_operands != kAnyNumber) {
      EXPECT_LE(static_cast<int>(entries->size()), op->max_operands) << op->name;
    }
  }
}

// For every float type, and with operands that broadcast, a cotangent has its operand's type; and
// it can be differentiated again.
TEST(Rules, OfElementwiseOpsKeepTypesInFirstAndSecondOrder) {
  for (const OpDef* op : elementwise_ops()) {
    if (op == &kSelect || op->name.starts_with("logical")) continue;
    for (const char* dtype : {"f32", "f64", "bf16", "f16"}) {
      Block block("test");
      std::vector<Value> operands;
      for (int i = 0; i < op->min_operands; ++i) {
        operands.push_back(argument(block, "x" + std::to_string(i),
                                    std::string(dtype) + (i == 0 ? "[n,1]" : "[3]")));
      }
      const Attributes attributes = op->attributes ? op->attributes->parse({}) : Attributes();
      const Value y = build(*op, operands, attributes, std::source_location::current());
      if (!is_float(y.dtype())) continue;
      const auto first = gradients({y}, operands);
      const auto second = gradients(first, operands);
      EXPECT_EQ(types_text(first), types_text(operands)) << op->name;
      EXPECT_EQ(types_text(second), types_text(operands)) << op->name;
    }
  }
}

// With every rule of a composite taken away, its decomposition gives gradients of the same types.
TEST(Rules, DecompositionsOfElementwiseOpsAreDifferentiable) {
  const RuleSet all = standard_rules();
  RuleSet primitives;
  for (const OpDef* op : standard_ops().all()) {
    const auto* entries = all.find(*op);
    if (entries && !op->decompose) primitives.add(*op, *entries);
  }
  for (const auto& family : {elementwise_ops(), reduce_ops()}) {
    for (const OpDef* op : family) {
      if (!op->decompose) continue;
      Block block("test");
      std::vector<Value> operands;
      for (int i = 0; i < op->min_operands; ++i) {
        operands.push_back(argument(block, "x" + std::to_string(i), "f16[n,3]"));
      }
      const Attributes attributes = op->attributes ? op->attributes->parse({}) : Attributes();
      const Value y = build(*op, operands, attributes, std::source_location::current());
      const auto g = gradients({y}, operands, {}, {.rules = &primitives});
      EXPECT_EQ(types_text(g), types_text(operands)) << op->name;
    }
  }
}

TEST(Rules, TheLastEntryServesAllFurtherOperands) {
  Block block("test");
  std::vector<Value> parts;
  for (int i = 0; i < 4; ++i) {
    parts.push_back(argument(block, "x" + std::to_string(i), "f32[n," + std::to_string(i) + "]"));
  }
  const auto g = gradients({concat(parts, 1)}, parts);
  EXPECT_EQ(types_text(g), "f32[n,0] f32[n,1] f32[n,2] f32[n,3]");
  EXPECT_EQ(g[3].node().attributes.to_text(), "{starts=[0,3], limits=[n,6]}");
}

// The shapes of these cancel only if the rules keep the symbols.
TEST(Rules, OfShapeOpsKeepSymbolicShapes) {
  Block block("test");
  const Dim n = Dim::symbol("n");
  const Value x = argument(block, "x", "f32[n,6]");
  for (const Value& y :
       {slice(x, {0, 1}, {n, 6}, {3, 2}), pad(x, {n, 0}, {1, 2}, {2, 1}), reshape(x, {3, -1}),
        transpose(x), broadcast_to(x, {4, n, 6}), sum_to(x, {6}), sum(x, {0}), max(x, {1}),
        mean(x, {0}, true), variance(x, {1}), logsumexp(x, {1}), prod(x), expand_dims(x, {1})}) {
    const Value first = gradients({y}, {x})[0];
    EXPECT_EQ(first.type(), x.type()) << y.node().op->name;
    EXPECT_EQ(gradients({first}, {x})[0].type(), x.type()) << y.node().op->name;
  }
}

}  // namespace
}  // namespace adjoint
