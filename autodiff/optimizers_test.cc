#include "autodiff/optimizers.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "autodiff/schedules.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/test_support.h"

namespace adjoint {
namespace {

// A value as a formula: constants as numbers, leaves by name, casts by the type they give.
std::string formula(const Block& block, ValueId id) {
  const Node& node = block.node(id);
  if (node.op->traits.leaf) return leaf_name(node);
  if (node.op == &kConstant) {
    const std::string text = to_text(node.attributes.get<ConstantAttributes>().value);
    return text.substr(text.find('{') + 1, text.size() - text.find('{') - 2);
  }
  std::vector<std::string> operands;
  for (ValueId operand : node.operands) operands.push_back(formula(block, operand));
  const std::map<const OpDef*, std::string> infix = {
      {&kAdd, " + "}, {&kSub, " - "}, {&kMul, " * "}, {&kDiv, " / "}};
  if (auto sign = infix.find(node.op); sign != infix.end()) {
    return "(" + operands[0] + sign->second + operands[1] + ")";
  }
  std::string text(node.op == &kCast ? name(node.types[0].dtype) : node.op->name);
  for (size_t i = 0; i < operands.size(); ++i) text += (i == 0 ? "(" : ", ") + operands[i];
  return text + ")";
}

// The updates that the optimiser adds for one variable w: f32[3] and a gradient g.
std::string updates_of(const Optimizer& optimizer) {
  Module m("m");
  const Variable& w = m.variable("w", Type::parse("f32[3]"));
  Function& f = m.function("f");
  optimizer.apply(f, {&w}, {argument(f, "g", "f32[3]")});
  std::string text;
  for (const Update& update : f.updates()) {
    text += update.variable + " <- " + formula(f, update.value) + "\n";
  }
  std::string shorter;
  const std::string prefix = "optimizer/";
  for (size_t i = 0; i < text.size();) {
    if (text.compare(i, prefix.size(), prefix) == 0) {
      i += prefix.size();
    } else {
      shorter += text[i++];
    }
  }
  return shorter;
}

const std::string kStep = "step <- (step + 1)\n";

TEST(Optimizers, Sgd) {
  EXPECT_EQ(updates_of(Sgd({.learning_rate = 0.5})), "w <- (w - (0.5 * g))\n" + kStep);
  EXPECT_EQ(updates_of(Sgd({.learning_rate = 0.5, .momentum = 0.75, .weight_decay = 0.25})),
            "w/momentum <- ((0.75 * w/momentum) + (g + (0.25 * w)))\n"
            "w <- (w - (0.5 * ((0.75 * w/momentum) + (g + (0.25 * w)))))\n" +
                kStep);
  EXPECT_EQ(updates_of(Sgd({.learning_rate = 0.5, .momentum = 0.75, .nesterov = true})),
            "w/momentum <- ((0.75 * w/momentum) + g)\n"
            "w <- (w - (0.5 * (g + (0.75 * ((0.75 * w/momentum) + g)))))\n" +
                kStep);
}

// With numbers that f32 holds exactly, so that they print as they are written.
TEST(Optimizers, Adam) {
  const std::string m = "((0.5 * w/m) + (0.5 * g))", v = "((0.75 * w/v) + (0.25 * square(g)))";
  const std::string rate = "f32((0.125 * reciprocal((1 - pow(0.5, f64((step + 1)))))))";
  const std::string root = "f32(sqrt((1 - pow(0.75, f64((step + 1))))))";
  const std::string change =
      "(" + rate + " * (" + m + " / ((sqrt(" + v + ") / " + root + ") + 0.0625)))";
  EXPECT_EQ(
      updates_of(Adam({.learning_rate = 0.125, .beta1 = 0.5, .beta2 = 0.75, .epsilon = 0.0625})),
      "w/m <- " + m + "\nw/v <- " + v + "\nw <- (w - " + change + ")\n" + kStep);
  EXPECT_EQ(updates_of(AdamW({.learning_rate = 0.125,
                              .beta1 = 0.5,
                              .beta2 = 0.75,
                              .epsilon = 0.0625,
                              .weight_decay = 0.25})),
            "w/m <- " + m + "\nw/v <- " + v + "\nw <- ((w - (0.125 * (0.25 * w))) - " + change +
                ")\n" + kStep);
}

TEST(Optimizers, AdamsWeightDecayIsPartOfTheGradient) {
  const std::string updates = updates_of(Adam({.beta1 = 0.5, .beta2 = 0.75, .weight_decay = 0.25}));
  EXPECT_EQ(updates.substr(0, updates.find("w <-")),
            "w/m <- ((0.5 * w/m) + (0.5 * (g + (0.25 * w))))\n"
            "w/v <- ((0.75 * w/v) + (0.25 * square((g + (0.25 * w)))))\n");
}

TEST(Optimizers, RmsProp) {
  const std::string v = "((0.75 * w/square) + (0.25 * square(g)))";
  const std::string a = "((0.75 * w/average) + (0.25 * g))";
  EXPECT_EQ(updates_of(RmsProp({.learning_rate = 0.5, .alpha = 0.75, .epsilon = 0.125})),
            "w/square <- " + v + "\nw <- (w - (0.5 * (g / (sqrt(" + v + ") + 0.125))))\n" + kStep);
  const std::string m =
      "((0.25 * w/momentum) + (g / (sqrt((" + v + " - square(" + a + "))) + 0.125)))";
  EXPECT_EQ(updates_of(RmsProp({.learning_rate = 0.5,
                                .alpha = 0.75,
                                .epsilon = 0.125,
                                .momentum = 0.25,
                                .centered = true})),
            "w/square <- " + v + "\nw/average <- " + a + "\nw/momentum <- " + m +
                "\nw <- (w - (0.5 * " + m + "))\n" + kStep);
}

TEST(Optimizers, Adagrad) {
  const std::string s = "(w/sum + square(g))";
  const std::string direction = "(g / (sqrt(" + s + ") + 0.125))";
  EXPECT_EQ(updates_of(Adagrad({.learning_rate = 0.5, .epsilon = 0.125})),
            "w/sum <- " + s + "\nw <- (w - (0.5 * " + direction + "))\n" + kStep);
  EXPECT_EQ(updates_of(Adagrad({.learning_rate = 0.5, .rate_decay = 0.25, .epsilon = 0.125})),
            "w/sum <- " + s +
                "\nw <- (w - (f32((0.5 * reciprocal((1 + (0.25 * f64(((step + 1) - 1))))))) * " +
                direction + "))\n" + kStep);
}

TEST(Optimizers, DefaultsAreThoseOfPyTorch) {
  EXPECT_EQ(SgdOptions().learning_rate.number(), 1e-3);
  EXPECT_EQ(AdamOptions().learning_rate.number(), 1e-3);
  EXPECT_EQ(AdamOptions().beta1, 0.9);
  EXPECT_EQ(AdamOptions().beta2, 0.999);
  EXPECT_EQ(AdamOptions().epsilon, 1e-8);
  EXPECT_EQ(AdamOptions().weight_decay, 0);
  EXPECT_EQ(AdamWOptions().weight_decay, 1e-2);
  EXPECT_EQ(RmsPropOptions().learning_rate.number(), 1e-2);
  EXPECT_EQ(RmsPropOptions().alpha, 0.99);
  EXPECT_EQ(AdagradOptions().learning_rate.number(), 1e-2);
  EXPECT_EQ(AdagradOptions().epsilon, 1e-10);
}

struct MinimizeTest : testing::Test {
  Module m{"m"};
  const Variable& a = m.variable("layer/a", Type::parse("f32[3]"));
  const Variable& b = m.variable("b", Type::parse("f32[3]"));
  const Variable& fixed = m.variable("fixed", Type::parse("f32[3]"), {}, false);
  Function& f = m.function("f");
  Value loss = sum(square(f.read(a) * f.read(fixed)));

  std::string updated() const {
    std::string names;
    for (const Update& update : f.updates()) names += update.variable + " ";
    return names;
  }
};

TEST_F(MinimizeTest, UpdatesTheVariablesThatTheLossUses) {
  f.read(b);  // read, but no part of the loss
  Adam().minimize(f, loss);
  EXPECT_EQ(updated(), "optimizer/layer/a/m optimizer/layer/a/v layer/a optimizer/step ");
  for (const char* name : {"optimizer/layer/a/m", "optimizer/layer/a/v", "optimizer/step"}) {
    ASSERT_NE(m.find_variable(name), nullptr) << name;
    EXPECT_FALSE(m.find_variable(name)->trainable);
  }
}

TEST_F(MinimizeTest, NodesCarryTheCallersLineAndTheVariablesScope) {
  const int line = __LINE__ + 1;
  Sgd().minimize(f, loss);
  for (const Update& update : f.updates()) {
    const OriginEntry& origin = f.node(update.value).origin->front();
    EXPECT_EQ(origin.where.line, line);
    EXPECT_EQ(origin.scope, update.variable == "layer/a" ? "optimizer/layer/a" : "optimizer");
  }
}

TEST_F(MinimizeTest, OnlyTheVariablesAskedFor) {
  const Value both = loss + sum(f.read(b));
  Sgd().minimize(f, both, {.variables = {&b}});
  EXPECT_EQ(updated(), "b optimizer/step ");
}

TEST_F(MinimizeTest, TwoOptimisersShareTheStepCounter) {
  const Value both = loss + sum(f.read(b));
  Sgd().minimize(f, both, {.variables = {&b}});
  Adam().minimize(f, both, {.variables = {&a}});
  EXPECT_EQ(updated(), "b optimizer/step optimizer/layer/a/m optimizer/layer/a/v layer/a ");
}

TEST_F(MinimizeTest, TheStateIsSharedByFunctions) {
  Adagrad({.initial_accumulator = 0.5}).minimize(f, loss);
  const size_t count = m.variables().size();
  Function& g = m.function("g");
  Adagrad().minimize(g, sum(g.read(a)));
  EXPECT_EQ(m.variables().size(), count);
  EXPECT_EQ(to_text(m.find_variable("optimizer/layer/a/sum")->initializer), "constant(0.5)");
}

TEST_F(MinimizeTest, ScheduledRatesAreRoundedToTheParametersType) {
  Sgd({.learning_rate = constant_rate(step_count(f), 0.5)}).minimize(f, loss);
  const Node& next = f.node(f.updates()[0].value);
  const Node& scaled = f.node(next.operands[1]);
  EXPECT_EQ(f.node(scaled.operands[0]).op, &kCast);
  EXPECT_EQ(to_text(f.type(scaled.operands[0])), "f32[]");
}

TEST_F(MinimizeTest, Errors) {
  auto minimizing = [&](Value l, MinimizeOptions options = {}) {
    return type_of([&] {
      Sgd().minimize(f, l, options);
      return l;
    });
  };
  EXPECT_EQ(minimizing(Value()), "optimizer: the loss is no value of 'f'");
  EXPECT_EQ(minimizing(f.read(a)), "optimizer: the loss is f32[3], not a float scalar");
  EXPECT_EQ(minimizing(argument(f, "i", "i64[]")),
            "optimizer: the loss is i64[], not a float scalar");
  EXPECT_EQ(minimizing(sum(argument(f, "x", "f32[2]"))),
            "optimizer: the loss depends on no trainable variable");
  EXPECT_EQ(minimizing(loss, {.clip_norm = -1}), "optimizer: the norm is clipped to -1");
  EXPECT_EQ(minimizing(loss, {.variables = {nullptr}}), "optimizer: a variable is null");
  EXPECT_TRUE(f.updates().empty());
  EXPECT_EQ(minimizing(loss), "f32[]");
  EXPECT_EQ(minimizing(loss), "optimizer: 'layer/a' has an update already");
  EXPECT_EQ(f.updates().size(), 2u);

  Function& g = m.function("g");
  const Value x = g.read(a), other = f.read(a);
  auto applying = [&](std::vector<const Variable*> variables, std::vector<Value> gradients,
                      const Optimizer& optimizer = Sgd()) {
    return type_of([&] {
      optimizer.apply(g, variables, gradients);
      return x;
    });
  };
  EXPECT_EQ(applying({&a}, {}), "optimizer: 0 gradients for 1 variables");
  EXPECT_EQ(applying({&a}, {sum(x)}),
            "optimizer: the gradient of 'layer/a', which is f32[3], is f32[]");
  EXPECT_EQ(applying({&a}, {other}),
            "optimizer: the gradient of 'layer/a', which is f32[3], is f32[3] of another function");
  EXPECT_EQ(applying({&a}, {Value()}),
            "optimizer: the gradient of 'layer/a', which is f32[3], is empty");
  EXPECT_EQ(applying({&a, &a}, {x, x}), "optimizer: 'layer/a' comes twice");
  EXPECT_EQ(applying({nullptr}, {x}), "optimizer: a variable is null");
  EXPECT_EQ(applying({&a}, {x}, Sgd({.learning_rate = x})),
            "optimizer: the learning rate is f32[3], not a float scalar of 'g'");
  EXPECT_EQ(applying({&a}, {x}, Sgd({.learning_rate = sum(other)})),
            "optimizer: the learning rate is f32[], not a float scalar of 'g'");
  EXPECT_TRUE(g.updates().empty());
}

TEST(Optimizers, OptionsOutOfRange) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  // As type_of: each error must name a line of this file.
  auto error = [](auto make) {
    return type_of([&] {
      make();
      return std::vector<Value>();
    });
  };
  EXPECT_EQ(error([] { Sgd({.learning_rate = -1.0}); }),
            "optimizer: learning_rate is out of range: -1");
  EXPECT_EQ(error([] { Sgd({.learning_rate = Value()}); }),
            "optimizer: the learning rate is an empty value");
  EXPECT_EQ(error([&] { Sgd({.momentum = nan}); }), "optimizer: momentum is out of range: nan");
  EXPECT_EQ(error([] { Sgd({.nesterov = true}); }), "optimizer: nesterov needs a momentum");
  EXPECT_EQ(error([] { Sgd({.weight_decay = -1}); }),
            "optimizer: weight_decay is out of range: -1");
  EXPECT_EQ(error([] { Adam({.beta1 = 1}); }), "optimizer: beta1 is out of range: 1");
  EXPECT_EQ(error([] { AdamW({.beta2 = -0.5}); }), "optimizer: beta2 is out of range: -0.5");
  EXPECT_EQ(error([] { AdamW({.epsilon = -1}); }), "optimizer: epsilon is out of range: -1");
  EXPECT_EQ(error([] { RmsProp({.alpha = -1}); }), "optimizer: alpha is out of range: -1");
  EXPECT_EQ(error([] { Adagrad({.rate_decay = -1}); }),
            "optimizer: rate_decay is out of range: -1");
}

TEST(Optimizers, ClipByGlobalNorm) {
  Block block("test");
  const Value x = argument(block, "x", "f32[2]"), y = argument(block, "y", "bf16[3]");
  Value norm;
  const std::vector<Value> clipped = clip_by_global_norm({x, y}, 2, &norm);
  EXPECT_EQ(types_text(clipped), "f32[2] bf16[3]");
  EXPECT_EQ(types_text(norm), "f32[]");
  const std::string factor =
      "minimum((2 / (sqrt((sum(square(x)) + sum(square(f32(y))))) + 1e-06)), 1)";
  EXPECT_EQ(formula(block, clipped[0].id()), "(x * " + factor + ")");
  EXPECT_EQ(formula(block, clipped[1].id()), "(y * bf16(" + factor + "))");
  const Value z = argument(block, "z", "f64[3]");
  clip_by_global_norm({x, z}, 2, &norm);
  EXPECT_EQ(types_text(norm), "f64[]");
  const size_t size = block.size();
  auto error = [&](std::vector<Value> gradients, double max_norm) {
    return type_of([&] { return clip_by_global_norm(gradients, max_norm); });
  };
  EXPECT_EQ(error({}, 1), "optimizer: no gradients to clip");
  EXPECT_EQ(error({x, Value()}, 1), "optimizer: a gradient is an empty value");
  EXPECT_EQ(error({x}, 0), "optimizer: the norm is clipped to 0");
  EXPECT_EQ(block.size(), size);  // nothing is half built
}

std::string schedule(Value (*build)(Value step)) {
  Block block("test");
  const Value rate = build(argument(block, "t", "i64[]"));
  EXPECT_EQ(types_text(rate), "f64[]");
  return formula(block, rate.id());
}

TEST(Schedules, Formulae) {
  EXPECT_EQ(schedule([](Value t) { return constant_rate(t, 0.5); }), "0.5");
  EXPECT_EQ(schedule([](Value t) { return step_decay(t, 0.5, 30, 0.125); }),
            "(0.5 * pow(0.125, f64((t / 30))))");
  EXPECT_EQ(schedule([](Value t) { return exponential_decay(t, 0.5, 0.75); }),
            "(0.5 * pow(0.75, f64(t)))");
  EXPECT_EQ(schedule([](Value t) { return cosine_decay(t, 0.5, 100, 0.25); }),
            "(0.25 + (0.125 * (1 + cos((3.141592653589793 * (minimum(f64(t), 100) / 100))))))");
  EXPECT_EQ(schedule([](Value t) { return warm_up(t, 10, constant_rate(t, 2), 0.25); }),
            "(2 * (0.25 + (0.75 * (minimum(f64(t), 10) / 10))))");
}

TEST(Schedules, Errors) {
  Block block("test");
  const Value step = argument(block, "step", "i64[]"), x = argument(block, "x", "f32[]");
  EXPECT_EQ(type_of([&] { return constant_rate(x, 1); }),
            "schedule: the step counter is f32[], not i64[]");
  EXPECT_EQ(type_of([&] { return constant_rate(Value(), 1); }),
            "schedule: the step counter is an empty value");
  EXPECT_EQ(type_of([&] { return step_decay(step, 1, 0); }),
            "schedule: every is 0, not at least 1");
  EXPECT_EQ(type_of([&] { return cosine_decay(step, 1, -1); }),
            "schedule: steps is -1, not at least 1");
  EXPECT_EQ(type_of([&] { return warm_up(step, 5, x); }), "schedule: the rate is f32[], not f64[]");
}

}  // namespace
}  // namespace adjoint
