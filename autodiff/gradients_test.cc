#include "autodiff/gradients.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "graph/module.h"
#include "graph/printer.h"
#include "ops/builder.h"
#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/linalg.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "ops/test_support.h"

namespace adjoint {
namespace {

struct GradientsTest : testing::Test {
  Module module{"test"};
  Function& f = module.function("f");

  std::string dump() const { return to_text(f, TextMode::structural); }
};

const GradientOrigin& from(Value v) { return *v.node().origin->front().from; }

// "%2 relu/relu 0", "accumulate": the node that v comes from, its op, the rule and the operand.
std::string from_text(Value v) {
  const GradientOrigin& origin = from(v);
  std::string text = "%" + std::to_string(origin.forward) + " " + origin.op + "/" + origin.rule;
  if (origin.operand >= 0) text += " " + std::to_string(origin.operand);
  return text + (origin.note.empty() ? "" : " " + origin.note);
}

Value operand(Value v, size_t index) { return Value(v.block(), v.node().operands[index]); }

TEST_F(GradientsTest, OfALinearLayer) {
  const Value x = argument(f, "x", "f32[batch,4]");
  const Value w = argument(f, "w", "f32[4,3]");
  const Value b = argument(f, "b", "f32[3]");
  const Value y = relu(matmul(x, w) + b);
  const Value loss = sum(y);
  const auto g = gradients({loss}, {w, b});
  f.result("w", g[0]);
  f.result("b", g[1]);
  EXPECT_EQ(dump(), R"(function f(x: f32[batch,4], w: f32[4,3], b: f32[3]) {
  %0 = matmul(x, w) : f32[batch,3]
  %1 = add(%0, b) : f32[batch,3]
  %2 = relu(%1) : f32[batch,3]
  %3 = sum(%2) {axes=[0,1]} : f32[]
  %4 = constant() {value=f32[]{1}} : f32[]
  %5 = broadcast_to(%4) {shape=[batch,3]} : f32[batch,3]
  %6 = relu_grad(%5, %2) : f32[batch,3]
  %7 = sum_to(%6) {shape=[3]} : f32[3]
  %8 = matmul(x, %6) {ta=true} : f32[4,3]
  return w=%8, b=%7
}
)");
}

TEST_F(GradientsTest, OriginsNameNodeRuleAndOperand) {
  const Value x = argument(f, "x", "f32[batch,4]");
  const Value b = argument(f, "b", "f32[4]");
  const int line = __LINE__ + 1;
  const Value y = x * b;
  const Value total = sum(y);
  const auto g = gradients({total}, {x, b});
  EXPECT_EQ(from_text(g[0]), "%0 mul/mul 0");
  EXPECT_EQ(from_text(g[1]), "%0 mul/mul 1 broadcast");
  EXPECT_EQ(g[1].node().op, &kSumTo);
  EXPECT_EQ(from_text(operand(g[1], 0)), "%0 mul/mul 1");
  const Value spread = operand(g[0], 0);
  EXPECT_EQ(from_text(spread), "%1 sum/sum 0");
  EXPECT_EQ(from_text(operand(spread, 0)), "%-1 /seed");
  EXPECT_EQ(line_of(g[1].node().origin).line, line);
  EXPECT_NE(line_of(g[1].node().origin).file.find("gradients_test.cc"), std::string::npos);
}

TEST_F(GradientsTest, AccumulateAcrossUses) {
  const Value x = argument(f, "x", "f32[3]");
  const Value e = exp(x);
  const Value y = e * sin(e);
  const auto g = gradients({sum(y)}, {x});
  const Value total = operand(g[0], 0);
  EXPECT_EQ(from_text(total), "%0 exp/accumulate");
  EXPECT_EQ(total.node().op, &kAdd);
  const auto both = gradients({x * x}, {x});
  EXPECT_EQ(from_text(both[0]), "%-1 argument/accumulate");
}

TEST_F(GradientsTest, OnlyNodesBetweenWrtAndOutputsTakePart) {
  const Value x = argument(f, "x", "f32[3]");
  const Value w = argument(f, "w", "f32[3]");
  const Value h = exp(x) * w;
  sin(h);  // leads nowhere
  const Value y = sum(h);
  const size_t before = f.size();
  gradients({y}, {w});
  std::vector<std::string> built;
  for (size_t n = before; n < f.size(); ++n) {
    built.push_back(std::string(f.node(static_cast<int32_t>(n)).op->name));
  }
  // Nothing for x: the factor exp(x) is a constant here.
  EXPECT_EQ(built, (std::vector<std::string>{"constant", "broadcast_to", "mul"}));
}

TEST_F(GradientsTest, WrtMayBeAnyValue) {
  const Value x = argument(f, "x", "f32[3]");
  const Value h = exp(x);
  const Value y = sin(h);
  const auto g = gradients({y}, {h, x, y, h});
  EXPECT_EQ(g[0].node().op, &kMul);  // dy * cos(h)
  EXPECT_EQ(from_text(g[0]), "%1 sin/sin 0");
  EXPECT_EQ(operand(g[1], 0), g[0]);  // through h, the total derivative
  EXPECT_EQ(from_text(g[2]), "%-1 /seed");
  EXPECT_EQ(g[3], g[0]);
}

TEST_F(GradientsTest, CotangentsMayBeGiven) {
  const Value x = argument(f, "x", "f32[3]");
  const Value u = argument(f, "u", "f32[3]");
  const Value y = exp(x);
  const auto g = gradients({y}, {x}, {u});
  EXPECT_EQ(operand(g[0], 0), u);
  const auto two = gradients({y, y}, {x}, {u, u});
  EXPECT_EQ(operand(two[0], 0).node().op, &kAdd);
  EXPECT_EQ(gradients({x}, {x}, {u})[0], u);
}

TEST_F(GradientsTest, UnreachedWrtGetZeros) {
  const Value x = argument(f, "x", "f32[3]");
  const Value w = argument(f, "w", "f32[batch,2]");
  const Value v = argument(f, "v", "f64[]");
  std::vector<size_t> unreached{99};
  const auto g = gradients({exp(x)}, {w, x, v}, {}, {}, &unreached);
  EXPECT_EQ(unreached, (std::vector<size_t>{0, 2}));
  EXPECT_EQ(types_text(g), "f32[batch,2] f32[3] f64[]");
  EXPECT_EQ(g[0].node().op, &kBroadcastTo);
  EXPECT_EQ(operand(g[0], 0).node().attributes.to_text(), "{value=f32[]{0}}");
  EXPECT_EQ(from_text(g[2]), "%-1 /zeros");
  EXPECT_TRUE(gradients({exp(x)}, {}).empty());
}

TEST_F(GradientsTest, NothingFlowsThroughStoppedOrIntegerPaths) {
  const Value x = argument(f, "x", "f32[3]");
  const Value stopped = stop_gradient(exp(x)) + floor(x) + sign(x);
  const Value counted = cast(cast(x, DType::i64) + 1.0, DType::f32);
  const Value chosen = cast(greater(x, 0.0), DType::f32);
  const Value picked = gather(argument(f, "table", "f32[9]"), cast(x, DType::i32));
  std::vector<size_t> unreached;
  gradients({stopped, counted, chosen, picked}, {x}, {}, {}, &unreached);
  EXPECT_EQ(unreached, std::vector<size_t>{0});
}

TEST_F(GradientsTest, OutputsOfOneNodeThatAreNotUsedHaveZeroCotangents) {
  const Value x = argument(f, "x", "f32[batch,5]");
  const auto parts = split(x, 1, {2, 3});
  const auto g = gradients({sum(parts[1])}, {x});
  ASSERT_EQ(g[0].node().op, &kConcat);
  EXPECT_EQ(to_text(operand(g[0], 0).type()), "f32[batch,2]");
  EXPECT_EQ(operand(operand(g[0], 0), 0).node().attributes.to_text(), "{value=f32[]{0}}");
}

TEST_F(GradientsTest, OfGradients) {
  const Value x = argument(f, "x", "f64[]");
  const Value y = x * x * x;
  const Value first = gradients({y}, {x})[0];
  const Value second = gradients({first}, {x})[0];
  const Value third = gradients({second}, {x})[0];
  std::vector<size_t> unreached;
  gradients({gradients({third}, {x})[0]}, {x}, {}, {}, &unreached);
  EXPECT_EQ(unreached, std::vector<size_t>{0});  // the fourth derivative of x^3
  EXPECT_EQ(third.type(), x.type());
  EXPECT_EQ(from_text(third), "%-1 argument/accumulate");
}

TEST_F(GradientsTest, WrongArgumentsAreErrors) {
  const Value x = argument(f, "x", "f32[3]");
  const Value i = argument(f, "i", "i64[3]");
  const Value y = exp(x);
  Block other("other");
  const Value z = argument(other, "z", "f32[3]");
  EXPECT_EQ(type_of([&] { return gradients({}, {x}); }), "gradients: no outputs");
  EXPECT_EQ(type_of([&] { return gradients({Value()}, {x}); }), "gradients: no outputs");
  EXPECT_EQ(type_of([&] {
              return gradients({y, i}, {x});
            }),
            "gradients: output 1 is i64[3], not a float type");
  EXPECT_EQ(type_of([&] {
              return gradients({y}, {x, i});
            }),
            "gradients: wrt 1 is i64[3], not a float type");
  EXPECT_EQ(type_of([&] { return gradients({y}, {Value()}); }),
            "gradients: wrt 0 is an empty value");
  EXPECT_EQ(type_of([&] { return gradients({y}, {z}); }),
            "gradients: wrt 0 belongs to 'other', not to 'f'");
  EXPECT_EQ(type_of([&] {
              return gradients({y}, {x}, {x, x});
            }),
            "gradients: 2 cotangents for 1 outputs");
  EXPECT_EQ(type_of([&] { return gradients({y}, {x}, {sum(x)}); }),
            "gradients: cotangent 0 is f32[], its output f32[3]");
}

// Ops that come without rules.

std::vector<Type> infer_same(const Inference& in) { return {in.operand(0)}; }

constexpr OpDef custom(std::string_view name, Decompose decompose = nullptr) {
  return {.name = name,
          .min_operands = 1,
          .max_operands = 2,
          .infer = infer_same,
          .decompose = decompose};
}
constexpr OpDef kFirst = custom("first");
constexpr OpDef kSecond = custom("second");
// x^3 + y sin(x), from ops that have rules.
constexpr OpDef kKnown = custom("known", [](std::span<const Value> in, const Attributes&) {
  return std::vector<Value>{in[0] * in[0] * in[0] + in[1] * sin(in[0])};
});
// Composites of composites, the last one with a hole.
constexpr OpDef kTwice = custom("twice", [](std::span<const Value> in, const Attributes&) {
  return std::vector<Value>{build(kKnown, {build(kKnown, in[0], {in[1]})}, {in[1]})};
});
constexpr OpDef kPartly = custom("partly", [](std::span<const Value> in, const Attributes&) {
  return std::vector<Value>{build(kSecond, exp(in[0])) + build(kKnown, in[0], {in[0]})};
});

TEST_F(GradientsTest, AllMissingRulesComeInOneErrorAndNothingIsBuilt) {
  const Value x = argument(f, "x", "f32[3]");
  const Value a = build(kFirst, x);
  const Value b = build(kFirst, a);
  const Value c = build(kPartly, b, {b});
  build(kSecond, x);  // not on the way
  const Value y = sum(c);
  const size_t size = f.size();
  const std::string error = error_of([&] { gradients({y}, {x}); });
  EXPECT_EQ(f.size(), size);
  EXPECT_EQ(error.find("gradients: no gradient rule for\n  'first' (%1, built at "), 0u) << error;
  EXPECT_NE(error.find("\n  'second' (%2, part of 'partly', built at "), std::string::npos)
      << error;
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 3) << error;
}

TEST_F(GradientsTest, CompositesAreDifferentiatedThroughTheirDecomposition) {
  const Value x = argument(f, "x", "f32[3]");
  const Value y = argument(f, "y", "f32[3]");
  const Value z = build(kTwice, x, {y});
  const size_t size = f.size();
  const auto g = gradients({sum(z)}, {x, y});
  EXPECT_EQ(types_text(g), "f32[3] f32[3]");
  // All that is new names the composite as the node that it comes from.
  for (size_t n = size + 3; n < f.size(); ++n) {
    const Value v(f, {static_cast<int32_t>(n), 0});
    EXPECT_EQ(from(v).forward, 0) << from_text(v);
    EXPECT_EQ(from(v).op, "twice") << from_text(v);
  }
  EXPECT_EQ(from_text(g[0]), "%0 twice/accumulate decomposed");
  std::vector<size_t> unreached;
  gradients({sum(g[0])}, {x, y}, {}, {}, &unreached);
  EXPECT_TRUE(unreached.empty());
}

TEST_F(GradientsTest, ACompositeMayTakeAnOperandTwice) {
  const Value x = argument(f, "x", "f32[]");
  const auto composite = gradients({build(kKnown, x, {x})}, {x});
  const auto plain = gradients({x * x * x + x * sin(x)}, {x});
  const auto count = [](Value v) {  // nodes that are reached from v, as a tree
    std::vector<Value> open{v};
    int nodes = 0;
    for (; !open.empty(); ++nodes) {
      const Value next = open.back();
      open.pop_back();
      for (size_t i = 0; i < next.node().operands.size(); ++i) open.push_back(operand(next, i));
    }
    return nodes;
  };
  EXPECT_EQ(count(composite[0]), count(plain[0]));
}

TEST_F(GradientsTest, AUsersRulesAreUsed) {
  const Value x = argument(f, "x", "f32[3]");
  RuleSet rules = standard_rules();
  rules.add(kFirst, {[](const RuleContext& c) { return 7.0 * c.cotangent(); }});
  rules.add(kExp, {NoGradient::kStopped});
  const Value y = build(kFirst, x);
  const auto g = gradients({y + exp(x)}, {x}, {}, {.rules = &rules});
  EXPECT_EQ(from_text(g[0]), "%0 first/first 0");
  EXPECT_NE(error_of([&] { rules.add(kFirst, {}); }), "");
}

TEST_F(GradientsTest, ARuleOfTheWrongTypeIsAnError) {
  const Value x = argument(f, "x", "f32[2,3]");
  RuleSet rules;
  const GradientOptions options{&rules};
  const auto message = [&](Rule rule) {
    rules.add(kFirst, {rule});
    return type_of([&] { return gradients({build(kFirst, x)}, {x}, {}, options); });
  };
  EXPECT_EQ(message([](const RuleContext& c) { return sum(c.cotangent(), {1}); }),
            "gradients: the rule of 'first' for operand 0, which is f32[2,3], gave f32[2]");
  EXPECT_EQ(message([](const RuleContext& c) { return cast(c.cotangent(), DType::f64); }),
            "gradients: the rule of 'first' for operand 0, which is f32[2,3], gave f64[2,3]");
  EXPECT_EQ(message([](const RuleContext&) { return Value(); }),
            "gradients: the rule of 'first' for operand 0, which is f32[2,3], gave nothing");
  EXPECT_EQ(f.size(), 4u) << "x and the three calls of 'first', no gradient nodes";
}

// Ten to the fifth nodes deep: no recursion, and a constant number of new nodes for each.
TEST_F(GradientsTest, LongChainsAndLatticesStayLinear) {
  constexpr int kLength = 100000;
  const Value x = argument(f, "x", "f32[]");
  Value chain = x;
  Value left = x;
  Value right = x;
  for (int i = 0; i < kLength; ++i) chain = sin(chain);
  for (int i = 0; i < kLength / 2; ++i) {
    const Value next = left + right;
    right = left * right;
    left = next;
  }
  const size_t before = f.size();
  const auto g = gradients({chain, left + right}, {x});
  EXPECT_EQ(g[0].type(), x.type());
  EXPECT_LE(f.size() - before, 5u * kLength);
}

}  // namespace
}  // namespace adjoint
