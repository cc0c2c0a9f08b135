// Fusion: text in, text out; random graphs give the same values fused and unfused.
#include "runtime/fusion.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <string>

#include "graph/printer.h"
#include "ops/elementwise.h"
#include "ops/linalg.h"
#include "ops/reduce.h"
#include "ops/region.h"
#include "ops/shape.h"
#include "runtime/cpu/evaluate.h"
#include "runtime/cpu/fusion_tester.h"
#include "runtime/cpu/kernels/region/region_ops.h"
#include "runtime/missing_kernels.h"

namespace adjoint::cpu {
namespace {

Pass decompose_missing(KernelTable table) {
  return decompose_missing_pass([table = std::move(table)](const KernelRequest& request) {
    return choose(table, request) != nullptr;
  });
}

std::string fuse(const std::string& text) { return run_pass(cpu_fusion(), text); }

// What a check needs may not wait until the state is written; an update beside it would have to.
TEST(Fusion, KeepsUpdatesApartFromWhatAChecksOperandNeeds) {
  const char* text = R"(function f(x: f32[4,3]) {
  %0 = exp(x) : f32[4,3]
  %1 = check_finite(%0) : f32[4,3]
  %2 = neg(x) : f32[4,3]
  %3 = square(%2) : f32[4,3]
  update w <- %3
  return y=%1
}
)";
  FusionRules rules = {.role = [](const Node& node, std::span<const Type> operands) {
    return node.op == &kCheckFinite ? RegionRole::none : region_role(node, operands);
  }};
  EXPECT_EQ(run_pass(fusion_pass(rules), text), R"(function f(x: f32[4,3]) {
  %0 = region(x) : f32[4,3], f32[4,3] {
    block(a0: f32[4,3]) {
      %0 = exp(a0) : f32[4,3]
      %1 = neg(a0) : f32[4,3]
      %2 = square(%1) : f32[4,3]
      return r0=%0, r1=%2
    }
  }
  %1 = check_finite(%0.0) : f32[4,3]
  update w <- %0.1
  return y=%1
}
)");
  rules.separates_updates = true;
  EXPECT_EQ(run_pass(fusion_pass(rules), text), R"(function f(x: f32[4,3]) {
  %0 = exp(x) : f32[4,3]
  %1 = check_finite(%0) : f32[4,3]
  %2 = region(x) : f32[4,3] {
    block(a0: f32[4,3]) {
      %0 = neg(a0) : f32[4,3]
      %1 = square(%0) : f32[4,3]
      return r0=%1
    }
  }
  update w <- %2
  return y=%1
}
)");
}

TEST(Fusion, ChainWithConstantAndBroadcastBecomesOneRegion) {
  EXPECT_EQ(fuse(R"(function f(x: f32[4,3], b: f32[3]) {
  %0 = constant() {value=f32[]{0.5}} : f32[]
  %1 = broadcast_to(b) {shape=[4,3]} : f32[4,3]
  %2 = mul(x, %0) : f32[4,3]
  %3 = add(%2, %1) : f32[4,3]
  %4 = relu(%3) : f32[4,3]
  return y=%4
}
)"),
            R"(function f(x: f32[4,3], b: f32[3]) {
  %0 = region(x, b) : f32[4,3] {
    block(a0: f32[4,3], a1: f32[3]) {
      %0 = constant() {value=f32[]{0.5}} : f32[]
      %1 = mul(a0, %0) : f32[4,3]
      %2 = broadcast_to(a1) {shape=[4,3]} : f32[4,3]
      %3 = add(%1, %2) : f32[4,3]
      %4 = relu(%3) : f32[4,3]
      return r0=%4
    }
  }
  return y=%0
}
)");
}

TEST(Fusion, ReductionsEndARegionAndShareItsReads) {
  EXPECT_EQ(fuse(R"(function f(x: f32[4,3]) {
  %0 = mean(x) {axes=[0]} : f32[3]
  %1 = square(x) : f32[4,3]
  %2 = mean(%1) {axes=[0]} : f32[3]
  %3 = sub(x, %0) : f32[4,3]
  return m=%2, y=%3
}
)"),
            R"(function f(x: f32[4,3]) {
  %0 = region(x) : f32[3], f32[3] {
    block(a0: f32[4,3]) {
      %0 = mean(a0) {axes=[0]} : f32[3]
      %1 = square(a0) : f32[4,3]
      %2 = mean(%1) {axes=[0]} : f32[3]
      return r0=%0, r1=%2
    }
  }
  %1 = sub(x, %0.0) : f32[4,3]
  return m=%0.1, y=%1
}
)");
}

// %0 and %3 are connected, but %1 and %2 lie between: one region would need its own result.
TEST(Fusion, MakesNoCycleThroughOtherNodes) {
  EXPECT_EQ(fuse(R"(function f(x: f32[4,4]) {
  %0 = exp(x) : f32[4,4]
  %1 = matmul(%0, x) : f32[4,4]
  %2 = add(%0, %1) : f32[4,4]
  %3 = relu(%2) : f32[4,4]
  return y=%3
}
)"),
            R"(function f(x: f32[4,4]) {
  %0 = exp(x) : f32[4,4]
  %1 = matmul(%0, x) : f32[4,4]
  %2 = region(%0, %1) : f32[4,4] {
    block(a0: f32[4,4], a1: f32[4,4]) {
      %0 = add(a0, a1) : f32[4,4]
      %1 = relu(%0) : f32[4,4]
      return r0=%1
    }
  }
  return y=%2
}
)");
}

// The mask is needed only after the product: it moves there instead of being stored.
TEST(Fusion, MovesAnOpToItsOnlyUser) {
  EXPECT_EQ(fuse(R"(function f(x: f32[4,4], dy: f32[4,4]) {
  %0 = greater(x, dy) : bool[4,4]
  %1 = matmul(x, dy) : f32[4,4]
  %2 = select(%0, %1, dy) : f32[4,4]
  return y=%2
}
)"),
            R"(function f(x: f32[4,4], dy: f32[4,4]) {
  %0 = matmul(x, dy) : f32[4,4]
  %1 = region(x, dy, %0) : f32[4,4] {
    block(a0: f32[4,4], a1: f32[4,4], a2: f32[4,4]) {
      %0 = greater(a0, a1) : bool[4,4]
      %1 = select(%0, a2, a1) : f32[4,4]
      return r0=%1
    }
  }
  return y=%1
}
)");
}

TEST(Fusion, UpdateOfAVariable) {
  EXPECT_EQ(fuse(R"(function f(g: f32[4,3], lr: f32[]) {
  %0 = mul(g, lr) : f32[4,3]
  read w
  %1 = sub(w, %0) : f32[4,3]
  update w <- %1
}
)"),
            R"(function f(g: f32[4,3], lr: f32[]) {
  %0 = region(g, lr, w) : f32[4,3] {
    block(a0: f32[4,3], a1: f32[], a2: f32[4,3]) {
      %0 = mul(a0, a1) : f32[4,3]
      %1 = sub(a2, %0) : f32[4,3]
      return r0=%1
    }
  }
  update w <- %0
}
)");
}

TEST(Fusion, LeavesSymbolsSingleOpsAndOtherShapesAlone) {
  const std::string text = R"(function f(x: f32[n,3], y: f32[4,3]) {
  %0 = exp(x) : f32[n,3]
  %1 = relu(%0) : f32[n,3]
  %2 = relu(y) : f32[4,3]
  %3 = reshape(%2) {shape=[3,4]} : f32[3,4]
  %4 = exp(%3) : f32[3,4]
  return a=%1, b=%4
}
)";
  EXPECT_EQ(fuse(text), text);
}

TEST(Fusion, LongChainsAreCut) {
  Module module("m");
  Function& f = module.function("f");
  const Value x = f.argument("x", {DType::f32, {4, 3}});
  Value y = x;
  for (int i = 0; i < 1000; ++i) y = i % 2 ? relu(y) : add(y, x);
  f.result("y", y);
  const Rewritten result = fused(f, cpu_fusion());
  EXPECT_GE(result.function->line_count(), 10);
  EXPECT_LE(result.function->line_count(), 40);
}

TEST(DecomposeMissing, OnlyWhatHasNoKernel) {
  const KernelTable all = standard_kernels();
  KernelTable table;
  for (const KernelDef* kernel : all.for_op("add")) table.add({kernel, 1});
  EXPECT_EQ(run_pass(decompose_missing(table), R"(function f(x: f32[4]) {
  %0 = silu(x) : f32[4]
  %1 = add(%0, x) : f32[4]
  return y=%1
}
)"),
            R"(function f(x: f32[4]) {
  %0 = neg(x) : f32[4]
  %1 = exp(%0) : f32[4]
  %2 = constant() {value=f32[]{1}} : f32[]
  %3 = add(%2, %1) : f32[4]
  %4 = constant() {value=f32[]{1}} : f32[]
  %5 = div(%4, %3) : f32[4]
  %6 = mul(x, %5) : f32[4]
  %7 = add(%6, x) : f32[4]
  return y=%7
}
)");
  const std::string kept = R"(function f(x: f32[4]) {
  %0 = silu(x) : f32[4]
  return y=%0
}
)";
  EXPECT_EQ(run_pass(decompose_missing(standard_kernels()), kept), kept);
}

// Node by node, from the arguments' values; so are regions for which there is no kernel.
std::vector<Literal> interpret(const Block& function, const std::vector<Literal>& arguments) {
  static const KernelTable table = standard_kernels();
  std::map<ValueId, Literal> values;
  size_t next = 0;
  for (int32_t i = 0; i < static_cast<int32_t>(function.size()); ++i) {
    const Node& node = function.node(i);
    if (node.op == &kArgument) {
      values[{i, 0}] = arguments[next++];
      continue;
    }
    std::vector<Literal> operands;
    for (ValueId operand : node.operands) operands.push_back(values.at(operand));
    auto outputs = evaluate(node, operands, table);
    if (!outputs && node.op == &kRegion) outputs = interpret(*node.blocks[0], operands);
    if (!outputs) throw PlanError("no kernel for\n" + to_text(function));
    for (size_t k = 0; k < outputs->size(); ++k)
      values[{i, static_cast<int32_t>(k)}] = (*outputs)[k];
  }
  std::vector<Literal> results;
  for (const auto& result : function.results()) results.push_back(values.at(result.value));
  return results;
}

// A random graph over a few shapes that broadcast to one another.
class RandomGraph {
 public:
  RandomGraph(Function& function, unsigned seed) : random_(seed) {
    for (const Shape& shape : {Shape{6, 6}, Shape{6}, Shape{6, 1}, Shape{}, Shape{6, 6}}) {
      values_.push_back(function.argument(name("x"), {DType::f32, shape}));
    }
    for (int i = 0; i < 40; ++i) values_.push_back(grow());
    for (int i = 0; i < 4; ++i) function.result(name("r"), values_[values_.size() - 1 - 3 * i]);
  }

 private:
  std::string name(std::string stem) { return stem += std::to_string(names_++); }
  Value pick() { return values_[random_() % values_.size()]; }
  Value grow() {
    const Value a = pick();
    const Value b = pick();
    switch (random_() % 12) {
      case 0:
        return add(a, b);
      case 1:
        return sub(a, b);
      case 2:
        return mul(a, tanh(b));
      case 3:
        return maximum(a, b);
      case 4:
        return select(less(a, b), a, b);
      case 5:
        return tanh(a);
      case 6:
        return a * 0.5 + 1.0;
      case 7:
        return a.rank() > 0 ? mean(a, {static_cast<int64_t>(random_() % a.rank())}, random_() % 2)
                            : neg(a);
      case 8:
        return max(a);
      case 9:
        return broadcast_to(a, {6, 6});
      case 10:
        return a.rank() == 2 && a.shape()[1] == Dim(6) ? tanh(matmul(a, broadcast_to(b, {6, 6})))
                                                       : abs(a);
      default:
        return a.rank() == 2 ? transpose(a, {1, 0}) : sigmoid(a);
    }
  }

  std::mt19937 random_;
  std::vector<Value> values_;
  int names_ = 0;
};

void expect_same_values(const Function& f, const Function& fused,
                        const std::vector<Literal>& arguments) {
  const auto wanted = interpret(f, arguments), got = interpret(fused, arguments);
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t r = 0; r < wanted.size(); ++r) {
    for (int64_t i = 0; i < wanted[r].element_count(); ++i) {
      const double slack = 1e-5 * (1 + std::fabs(wanted[r].at(i)));
      ASSERT_NEAR(got[r].at(i), wanted[r].at(i), slack) << to_text(f);
    }
  }
}

int count_regions(const Function& function) {
  int regions = 0;
  for (int32_t i = 0; i < static_cast<int32_t>(function.size()); ++i) {
    regions += function.node(i).op == &kRegion;
  }
  return regions;
}

TEST(Fusion, RandomGraphsKeepTheirValues) {
  int regions = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    Module module("m");
    Function& f = module.function("f");
    RandomGraph graph(f, seed);
    std::vector<Literal> arguments;
    for (ValueId id : f.arguments()) {
      std::mt19937 random(seed * 7 + id.node);
      std::vector<float> values(f.type(id).shape.element_count().value());
      for (float& value : values) value = random() % 1000 / 250.0f - 2;
      arguments.push_back(Literal::of(f.type(id).shape.static_dims(), values));
    }
    const Rewritten result = fused(f, cpu_fusion());
    regions += count_regions(*result.function);
    expect_same_values(f, *result.function, arguments);
    expect_same_values(f, *fused(f, fusion_with_scalars()).function, arguments);
  }
  EXPECT_GT(regions, 600);
}

}  // namespace
}  // namespace adjoint::cpu
