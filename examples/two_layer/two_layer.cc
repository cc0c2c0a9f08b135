// A network of two layers that learns XOR, written with single ops: no layers, no optimiser, no
// data set. docs/first_model.md goes through it step by step. Exits with 1 if the fit is bad.
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "autodiff/gradients.h"
#include "graph/error.h"
#include "graph/module.h"
#include "graph/printer.h"
#include "ops/elementwise.h"
#include "ops/initializers.h"
#include "ops/linalg.h"
#include "ops/reduce.h"
#include "runtime/cpu/device.h"
#include "runtime/executable.h"
#include "runtime/state.h"

using namespace adjoint;

namespace {

const Dim kBatch = Dim::symbol("batch");

void declare_variables(Module& module) {
  module.variable("w1", {DType::f32, {2, 8}}, {.kind = Init::he_normal});
  module.variable("b1", {DType::f32, {8}});  // zeros
  module.variable("w2", {DType::f32, {8, 1}}, {.kind = Init::he_normal});
  module.variable("b2", {DType::f32, {1}});
}

// The nodes of the network, in any function of the module.
Value network(Function& f, Value x) {
  auto read = [&](const char* name) { return f.read(*f.module().find_variable(name)); };
  const Value w1 = read("w1"), b1 = read("b1"), w2 = read("w2"), b2 = read("b2");
  const Value hidden = relu(matmul(x, w1) + b1);
  return matmul(hidden, w2) + b2;
}

Function& build_predict(Module& module) {
  Function& predict = module.function("predict");
  const Value x = predict.argument("x", {DType::f32, {kBatch, 2}});
  predict.result("y", network(predict, x));
  return predict;
}

// One step of gradient descent.
Function& build_train(Module& module) {
  Function& train = module.function("train");
  const Value x = train.argument("x", {DType::f32, {kBatch, 2}});
  const Value target = train.argument("target", {DType::f32, {kBatch, 1}});
  const Value loss = mean(square(network(train, x) - target));
  train.result("loss", loss);

  std::vector<Value> weights;
  for (const auto& variable : module.variables()) weights.push_back(train.read(*variable));
  const std::vector<Value> slopes = gradients({loss}, weights);
  for (size_t i = 0; i < weights.size(); ++i) {
    train.update(*module.variables()[i], weights[i] - 0.1 * slopes[i]);
  }
  return train;
}

// The second layer's weights in the place of the first's.
void make_a_mistake(Module& module) {
  Function& wrong = module.function("wrong");
  const Value x = wrong.argument("x", {DType::f32, {kBatch, 2}});
  try {
    matmul(x, wrong.read(*module.find_variable("w2")));
  } catch (const GraphError& error) {
    std::printf("%s\n\n", error.what());
  }
}

// The largest error of the trained network.
float run(const Function& initialize, const Function& train, const Function& predict) {
  const std::shared_ptr<Device> cpu = cpu::device(1);
  State state(train.module(), cpu);
  Executable(initialize, cpu).run(state, {{"key", Tensor::of<int64_t>({}, {1})}});

  Executable step(train, cpu);
  std::printf("%s\n", to_text(step.prepare({{"batch", 4}})).c_str());
  const Tensor x = Tensor::of<float>({4, 2}, {0, 0, 0, 1, 1, 0, 1, 1});
  const Tensor target = Tensor::of<float>({4, 1}, {0, 1, 1, 0});
  for (int i = 0; i <= 200; ++i) {
    const Tensors results = step.run(state, {{"x", x}, {"target", target}});
    if (i % 50 == 0) std::printf("step %3d: loss %.4f\n", i, results.at("loss").item<float>());
  }

  Executable answer(predict, cpu);
  float worst = 0;
  for (int row = 0; row < 4; ++row) {
    const float a = x.values<float>()[2 * row], b = x.values<float>()[2 * row + 1];
    const Tensors results = answer.run(state, {{"x", Tensor::of<float>({1, 2}, {a, b})}});
    const float y = results.at("y").item<float>();
    std::printf("%.0f xor %.0f = %.3f\n", a, b, y);
    worst = std::fmax(worst, std::fabs(y - target.values<float>()[row]));
  }
  return worst;
}

}  // namespace

int main() {
  Module module("two_layer");
  declare_variables(module);
  const Function& initialize = add_initialize(module);
  const Function& predict = build_predict(module);
  const Function& train = build_train(module);
  std::printf("%s\n", to_module_text(train).c_str());
  make_a_mistake(module);
  return run(initialize, train, predict) < 0.01f ? 0 : 1;
}
