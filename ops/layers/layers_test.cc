#include "ops/layers/layers.h"

#include <gtest/gtest.h>

#include "graph/printer.h"
#include "ops/elementwise.h"
#include "ops/layers/sequential.h"
#include "ops/random.h"
#include "ops/test_support.h"

namespace adjoint {
namespace {

Type images() { return Type::parse("f32[batch,28,28,1]"); }

Sequential reference_network(Module& m) {
  using namespace layers;
  return Sequential(
      m, images(),
      {conv2d("conv1", {.filters = 24, .kernel = 5}), batch_norm("bn1"), relu(), max_pool(2),
       conv2d("conv2", {.filters = 48, .kernel = 5}), batch_norm("bn2"), relu(), max_pool(2),
       flatten(), dense("dense1", 512), batch_norm("bn3"), relu(), dense("dense2", 10)});
}

TEST(Layers, ReferenceNetworksTable) {
  Module m("cnn");
  const Sequential net = reference_network(m);
  std::string table;
  for (const LayerSummary& row : net.summary()) {
    table +=
        row.name + " " + to_text(row.output.shape) + " " + std::to_string(row.parameters()) + "\n";
  }
  EXPECT_EQ(table,
            "conv1 [batch,24,24,24] 624\n"
            "bn1 [batch,24,24,24] 96\n"
            "relu [batch,24,24,24] 0\n"
            "max_pool [batch,12,12,24] 0\n"
            "conv2 [batch,8,8,48] 28848\n"
            "bn2 [batch,8,8,48] 192\n"
            "relu [batch,8,8,48] 0\n"
            "max_pool [batch,4,4,48] 0\n"
            "flatten [batch,768] 0\n"
            "dense1 [batch,512] 393728\n"
            "bn3 [batch,512] 2048\n"
            "relu [batch,512] 0\n"
            "dense2 [batch,10] 5130\n");
  const LayerSummary sum = total(net.summary());
  EXPECT_EQ(sum.parameters(), 430666);
  EXPECT_EQ(sum.trainable, 429498);
  EXPECT_EQ(sum.not_trainable, 1168);
  EXPECT_EQ(to_text(net.output()), "f32[batch,10]");
}

TEST(Layers, VariablesHaveStablePaths) {
  Module m("cnn");
  reference_network(m);
  std::string names;
  for (const auto& v : m.variables()) {
    if (v->name.find("1/") == std::string::npos) continue;
    names += v->name + " " + to_text(v->type) + " " + to_text(v->initializer) +
             (v->trainable ? "" : " not trainable") + "\n";
  }
  EXPECT_EQ(names,
            "conv1/filter f32[5,5,1,24] he_normal\n"
            "conv1/bias f32[24] zeros\n"
            "bn1/scale f32[24] ones\n"
            "bn1/offset f32[24] zeros\n"
            "bn1/mean f32[24] zeros not trainable\n"
            "bn1/variance f32[24] ones not trainable\n"
            "dense1/weights f32[768,512] he_normal\n"
            "dense1/bias f32[512] zeros\n");
}

TEST(Layers, AFailedApplicationLeavesNothing) {
  Module m("m");
  const Sequential net(m, Type::parse("f32[batch,4]"),
                       {layers::dense("dense", 3), layers::batch_norm("bn")});
  Function& train = m.function("train");
  const Value x = train.argument("x", net.input());
  net.apply({train, Mode::training}, x);
  const std::string before = to_text(train, TextMode::full);
  // The running statistics have their update already.
  EXPECT_THROW(net.apply({train, Mode::training}, x), GraphError);
  EXPECT_EQ(to_text(train, TextMode::full), before);
}

TEST(Layers, TrainingAndEvaluationShareVariables) {
  Module m("m");
  const Sequential net(m, Type::parse("f32[batch,4]"), {layers::batch_norm("bn")});
  Function& train = m.function("train");
  train.result("y", net.apply({train, Mode::training}, train.argument("x", net.input())));
  Function& evaluate = m.function("evaluate");
  evaluate.result("y", net.apply({evaluate}, evaluate.argument("x", net.input())));
  EXPECT_EQ(m.variables().size(), 4u);
  EXPECT_EQ(to_text(train, TextMode::structural),
            "function train(x: f32[batch,4]) {\n"
            "  %0 = batch_norm(x, bn/scale, bn/offset) : f32[batch,4], f32[4], f32[4]\n"
            "  %1 = constant() {value=f32[]{0.99}} : f32[]\n"
            "  %2 = mul(%1, bn/mean) : f32[4]\n"
            "  %3 = constant() {value=f32[]{0.01}} : f32[]\n"
            "  %4 = mul(%3, %0.1) : f32[4]\n"
            "  %5 = add(%2, %4) : f32[4]\n"
            "  %6 = constant() {value=f32[]{0.99}} : f32[]\n"
            "  %7 = mul(%6, bn/variance) : f32[4]\n"
            "  %8 = constant() {value=f32[]{0.01}} : f32[]\n"
            "  %9 = mul(%8, %0.2) : f32[4]\n"
            "  %10 = add(%7, %9) : f32[4]\n"
            "  update bn/mean <- %5\n"
            "  update bn/variance <- %10\n"
            "  return y=%0.0\n"
            "}\n");
  EXPECT_TRUE(evaluate.updates().empty());
  EXPECT_EQ(to_text(evaluate.type(evaluate.results()[0].value)), "f32[batch,4]");
}

TEST(Layers, NodesCarryTheLayersLineAndScope) {
  Module m("m");
  const int line = __LINE__ + 1;
  const LayerSpec inner = layers::dense("dense", 3);
  const Sequential net(m, Type::parse("f32[batch,4]"),
                       {layers::sequential("block", {inner, layers::relu()}), layers::relu()});
  Function& f = m.function("f");
  const Value y = net.apply({f}, f.argument("x", net.input()));
  EXPECT_EQ(y.node().origin->front().scope, "relu");
  const Value block_relu(f, y.node().operands[0]);
  EXPECT_EQ(block_relu.node().origin->front().scope, "block/relu");
  EXPECT_EQ(y.node().origin->front().where.line, line + 2);
  EXPECT_NE(m.find_variable("block/dense/weights"), nullptr);

  Module single("single");
  const Sequential alone(single, net.input(), {inner});
  Function& g = single.function("g");
  const Value z = alone.apply({g}, g.argument("x", alone.input()));
  EXPECT_EQ(z.node().origin->front().where.line, line);
  EXPECT_EQ(net.summary()[0].trainable, 15);
}

std::string output(std::string_view input, LayerSpec layer) {
  Module m("m");
  return to_text(Sequential(m, Type::parse(input), {std::move(layer)}).output());
}

TEST(Layers, Outputs) {
  using namespace layers;
  EXPECT_EQ(
      output("f32[b,30,26,3]",
             conv2d("c",
                    {.filters = 7, .kernel = {3, 2}, .stride = {2, 1}, .padding = Padding::same})),
      "f32[b,15,26,7]");
  EXPECT_EQ(output("f64[b,h,w,6]", conv2d("c", {.filters = 4, .groups = 2, .bias = false})),
            "f64[b,h-2,w-2,4]");
  EXPECT_EQ(output("f32[b,9,9,6]", depthwise_conv2d("c", {.multiplier = 2, .dilation = 2})),
            "f32[b,5,5,12]");
  EXPECT_EQ(output("f32[b,9,9,6]", layer_norm("n")), "f32[b,9,9,6]");
  EXPECT_EQ(output("i64[b,t]", embedding("e", 100, 16)), "f32[b,t,16]");
  EXPECT_EQ(output("f32[b,9,8,6]", avg_pool({3, 2})), "f32[b,3,4,6]");
  EXPECT_EQ(output("f32[b,9,8,6]", max_pool(3, {.stride = {1, 1}, .padding = Padding::same})),
            "f32[b,9,8,6]");
  EXPECT_EQ(output("f32[b,9,8,6]", global_avg_pool()), "f32[b,6]");
  EXPECT_EQ(output("f32[b,h,8,6]", flatten()), "f32[b,48*h]");
  EXPECT_EQ(output("f32[b,3]", map("scale", [](Value x) { return x / 255.0; })), "f32[b,3]");
  for (const LayerSpec& same : {leaky_relu(), elu(), gelu(), silu(), layers::tanh(), sigmoid(),
                                softmax(), dropout("d", 0.1)}) {
    EXPECT_EQ(output("f32[b,3]", same), "f32[b,3]");
  }
}

TEST(Layers, DropoutActsInTrainingOnly) {
  Module m("m");
  const Sequential net(m, Type::parse("f32[batch,4]"),
                       {layers::dropout("drop1", 0.25), layers::dropout("drop2", 0.25)});
  Function& evaluate = m.function("evaluate");
  const Value x = evaluate.argument("x", net.input());
  EXPECT_EQ(net.apply({evaluate}, x), x);

  Function& train = m.function("train");
  const Value key = argument(train, "key", "i64[]");
  const Value y = net.apply({train, Mode::training, key}, train.argument("x", net.input()));
  ASSERT_EQ(y.node().op, &kDropout);
  EXPECT_EQ(y.node().attributes.get<DropoutAttributes>().rate, 0.25);
  EXPECT_EQ(y.node().attributes.get<DropoutAttributes>().stream, stream_of("drop2"));
  EXPECT_EQ(train.node(y.node().operands[0]).attributes.get<DropoutAttributes>().stream,
            stream_of("drop1"));
}

// The error of a Sequential with this layer, its line replaced by "HERE" where it is this file's.
std::string failure(std::string_view input, LayerSpec layer) {
  Module m("m");
  const std::string line = std::to_string(layer.where.line());
  std::string error = error_of([&] {
    Sequential(m, Type::parse(input), {layers::dense("first", 6), std::move(layer)});
  });
  EXPECT_TRUE(m.variables().empty()) << "left behind: " << m.variables()[0]->name;
  const size_t place = error.find("layers_test.cc:" + line);
  if (place == std::string::npos) return error;
  const size_t begin = error.rfind(' ', place) + 1;
  return error.replace(begin, error.size() - begin, "HERE");
}

TEST(Layers, ErrorsNameLayerAndLineAndLeaveNothingBehind) {
  using namespace layers;
  EXPECT_EQ(failure("f32[b,2]", conv2d("conv", {.filters = 2})),
            "layer 'conv': conv2d: not of rank 4: input [b,6], filter [3,3,6,2]\n  built at HERE");
  EXPECT_EQ(failure("f32[b,4,4,2]", conv2d("conv", {.filters = 2, .kernel = 5})),
            "layer 'conv': conv2d: the window is larger than the input: 5 and 4: input [b,4,4,6], "
            "filter [5,5,6,2]\n  built at HERE");
  EXPECT_EQ(failure("f32[b,4,4,2]", conv2d("conv", {.filters = 2, .groups = 4})),
            "layer 'conv': groups do not divide the channels: 4 and f32[b,4,4,6]\n  built at HERE");
  EXPECT_EQ(failure("f32[b,4,4,2]", conv2d("conv", {.filters = 2, .groups = 0})),
            "layer 'conv': groups must be at least 1, not 0\n  built at HERE");
  EXPECT_EQ(failure("f32[b,4,4,2]", conv2d("conv", {.filters = 0})),
            "layer 'conv': filters must be at least 1, not 0\n  built at HERE");
  EXPECT_EQ(failure("f32[b,4,4,2]", conv2d("conv", {.filters = 2, .kernel = -1})),
            "layer 'conv': negative dimension -1\n  built at HERE");
  EXPECT_EQ(failure("f32[b,2]", dense("first", 3)),
            "layer 'first': module 'm': the name 'first/weights' is taken\n  built at HERE");
  EXPECT_EQ(failure("f32[b,2]", dense("a b", 3)),
            "layer 'a b': 'a b' is not a name\n  built at HERE");
  EXPECT_EQ(failure("f32[b,2]", dense("d", -3)),
            "layer 'd': units must be at least 1, not -3\n  built at HERE");
  EXPECT_EQ(failure("f32[b,2]", batch_norm("bn", {.momentum = 2})),
            "layer 'bn': momentum is 2, not from 0 to 1\n  built at HERE");
  EXPECT_EQ(failure("f32[b,2]", dropout("drop", 1)),
            "layer 'drop': rate is 1, not from 0 to below 1\n  built at HERE");
  EXPECT_EQ(failure("f32[b,2]", sequential("block", {max_pool(2)})),
            "layer 'block': layer 'max_pool': max_pool: the input is not of rank 4: [b,6]\n"
            "  built at HERE");
}

TEST(Layers, OtherErrors) {
  Module m("m");
  const LayerSpec dense = layers::dense("d", 3);
  EXPECT_EQ(error_of([&] { Sequential(m, Type::parse("f32[b,n]"), {dense}); }).substr(0, 64),
            "layer 'd': the input's last dimension is not known: f32[b,n]\n  b");
  m.variable("d/bias", Type::parse("f32[3]"));
  EXPECT_EQ(error_of([&] { Sequential(m, Type::parse("f32[b,4]"), {dense}); }),
            "module 'm': the name 'd/bias' is taken");
  EXPECT_EQ(m.variables().size(), 1u);

  const Sequential drop(m, Type::parse("f32[b,4]"), {layers::dropout("drop")});
  Function& f = m.function("f");
  const Value x = f.argument("x", drop.input());
  EXPECT_EQ(type_of([&] {
              return drop.apply({f, Mode::training}, x);
            }),
            "layer 'drop': training gives no key in its context");
  Function& g = m.function("g");
  EXPECT_EQ(type_of([&] { return drop.apply({g}, x); }), "layers: the input is no value of 'g'");
  EXPECT_EQ(type_of([&] { return drop.apply({f}, Value()); }),
            "layers: the input is no value of 'f'");
  // Not what it was built for.
  const Sequential product(m, Type::parse("f32[b,4]"), {layers::dense("product", 2)});
  const Value wide = f.argument("wide", Type::parse("f32[b,5]"));
  EXPECT_EQ(type_of([&] { return product.apply({f}, wide); }),
            "layer 'product': matmul: inner dimensions differ: f32[b,5] x f32[4,2] (5 and 4)");
  const Sequential norm(m, Type::parse("f32[b,4]"), {layers::batch_norm("bn")});
  norm.apply({f, Mode::training}, x);
  EXPECT_NE(error_of([&] {
              norm.apply({f, Mode::training}, x);
            }).find("update of 'bn/mean': it has an update already"),
            std::string::npos);
}

}  // namespace
}  // namespace adjoint
