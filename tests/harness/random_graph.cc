#include "tests/harness/random_graph.h"

#include <algorithm>
#include <random>

#include "autodiff/gradients.h"
#include "ops/conv.h"
#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/linalg.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace adjoint::testing {
namespace {

constexpr int64_t kMaxElements = 2000;

int64_t size_of(Value v) { return v.shape().element_count().value(); }

// One kind of step; an empty value where the operands do not suit.
using MakeStep = Value (*)(Value a, Value b, uint32_t number);

// A filter, or another parameter, that depends on nothing but its shape.
Value parameter(Value like, const Shape& shape) {
  Block& block = like.block();
  const Dim n = shape.element_count();
  const Value steps = cast(iota(block, {n}, 0, DType::i32), like.dtype());
  return reshape(sin(steps * 1.7 + 0.3) * 0.5, shape);
}

Value broadcast(Value a, Value b, Value (*f)(Located, Value)) {
  try {
    broadcast_shapes(a.shape(), b.shape());
  } catch (const GraphError&) {
    return f(a, mean(b));
  }
  return f(a, b);
}

int64_t axis_of(Value a, uint32_t number) { return number % a.rank(); }

Value convolution(Value a, Value, uint32_t number) {
  if (a.rank() != 4) return {};
  const Dim channels = a.shape()[3];
  const auto padding = number % 2 ? Padding::same : Padding::valid;
  if (padding == Padding::valid && (a.shape()[1].value() < 2 || a.shape()[2].value() < 3)) {
    return {};
  }
  return conv2d(a, parameter(a, {2, 3, channels, 1 + number % 5}),
                {.stride = {1 + number / 2 % 2, 1 + number / 6}, .padding = padding});
}

Value pooling(Value a, Value, uint32_t number) {
  if (a.rank() != 4 || a.shape()[1].value() < 2 || a.shape()[2].value() < 2) return {};
  const PoolAttributes attributes = {.window = {2, 2}, .stride = {}};
  return number % 2 ? max_pool(a, attributes) : avg_pool(a, attributes);
}

Value normalization(Value a, Value, uint32_t number) {
  if (a.rank() < 2 || size_of(a) == 0) return {};
  const Shape channels{a.shape()[a.rank() - 1]};
  const Value scale = parameter(a, channels) + 1.0, offset = parameter(a, channels);
  // A generous epsilon: where all elements are equal nothing blows up.
  return number % 2 ? batch_norm(a, scale, offset, 0.1).y : layer_norm(a, scale, offset, 0.1).y;
}

// The reference network's chain, for which there are kernels made by hand.
Value norm_relu_pool(Value a, Value b, uint32_t number) {
  const Value n = normalization(a, b, 1);
  if (!n) return {};
  const Value r = relu(n);
  return number % 2 ? pooling(r, b, 1) : r;
}

Value product(Value a, Value b, uint32_t number) {
  if (a.rank() != 2) return {};
  if (b.rank() == 2 && b.shape()[0] == a.shape()[1]) return matmul(a, b);
  const Dim inner = a.shape()[number % 2];
  const Value other = parameter(a, {inner, 1 + number % 7});
  return matmul(a, other, {.transpose_a = number % 2 == 0});
}

// The axes moved round.
Value rotated(Value a, Value, uint32_t number) {
  std::vector<int64_t> axes;
  for (int axis = 0; axis < a.rank(); ++axis) axes.push_back((axis + number) % a.rank());
  return transpose(a, axes);
}

Value flattened(Value a, Value, uint32_t) {
  if (a.rank() < 2) return {};
  return reshape(a, {a.shape()[0], -1});
}

Value gathered(Value a, Value, uint32_t number) {
  if (a.rank() == 0) return {};
  const int64_t axis = axis_of(a, number), size = a.shape()[axis].value();
  const Literal rows = Literal::of<int64_t>({3}, {0, size - 1, number % size});
  return gather(a, constant(a.block(), rows), axis);
}

Value sliced(Value a, Value, uint32_t number) {
  if (a.rank() == 0) return {};
  const int64_t axis = axis_of(a, number), size = a.shape()[axis].value();
  return size < 2 ? Value() : slice_axis(a, axis, number % 2, size, 1 + number % 2);
}

Value padded(Value a, Value, uint32_t number) {
  std::vector<Dim> low(a.rank(), 0), high(a.rank(), number % 2);
  if (!low.empty()) low.back() = 1;
  return pad(a, Shape(low), Shape(high), {}, 0.25);
}

Value reduced(Value a, uint32_t number, Value (*f)(Located, std::vector<int64_t>, bool)) {
  if (a.rank() == 0) return {};
  return f(a, {axis_of(a, number)}, number % 2 == 0);
}

constexpr MakeStep kKinds[] = {
    [](Value a, Value, uint32_t) { return tanh(a); },
    [](Value a, Value, uint32_t) { return sigmoid(a); },
    [](Value a, Value, uint32_t) { return exp(-square(a)); },
    [](Value a, Value, uint32_t) { return relu(a); },
    [](Value a, Value, uint32_t) { return gelu(a); },
    [](Value a, Value, uint32_t) { return log(1.0 + abs(a)); },
    [](Value a, Value, uint32_t n) { return sin(a * (0.5 + n % 3)) + 1.0; },
    [](Value a, Value, uint32_t) { return a * 1.0 + 0.0; },
    [](Value a, Value b, uint32_t) { return broadcast(a, b, add); },
    [](Value a, Value b, uint32_t) { return broadcast(a, b, sub); },
    [](Value a, Value b, uint32_t) { return broadcast(tanh(a), b, mul); },
    [](Value a, Value b, uint32_t) { return broadcast(a, b, maximum); },
    [](Value a, Value b, uint32_t) { return broadcast(a, square(b) + 1.0, div); },
    [](Value a, Value b, uint32_t) { return select(greater(a, mean(b)), a, mean(b)); },
    [](Value a, Value, uint32_t n) { return reduced(a, n, sum); },
    [](Value a, Value, uint32_t n) { return reduced(a, n, mean); },
    [](Value a, Value, uint32_t n) { return reduced(a, n, max); },
    [](Value a, Value, uint32_t n) { return reduced(a, n, variance); },
    [](Value a, Value, uint32_t n) { return reduced(a, n, logsumexp); },
    [](Value a, Value, uint32_t n) { return a.rank() ? softmax(a, axis_of(a, n)) : Value(); },
    [](Value a, Value, uint32_t) { return transpose(a); },
    [](Value a, Value, uint32_t n) { return expand_dims(a, {n % (a.rank() + 1)}); },
    [](Value a, Value, uint32_t n) {
      return a.rank() ? concat({a, tanh(a)}, axis_of(a, n)) : a;
    },
    [](Value a, Value, uint32_t) { return stop_gradient(a) * 0.5 + a; },
    rotated,
    flattened,
    gathered,
    sliced,
    padded,
    product,
    product,
    normalization,
    norm_relu_pool,
    norm_relu_pool,
    convolution,
    convolution,
    pooling};

// The value of a step that has a result of reasonable size, else an empty one.
Value make_step(const Step& step, const Values& values) {
  const Value a = values[step.a % values.size()], b = values[step.b % values.size()];
  if (a.rank() > 5) return {};
  const Value made = kKinds[step.kind % std::size(kKinds)](a, b, step.number);
  return made && size_of(made) > 0 && size_of(made) <= kMaxElements ? made : Value();
}

}  // namespace

Recipe random_recipe(uint64_t seed) {
  std::mt19937 random(static_cast<uint32_t>(seed));
  Recipe recipe{seed, {}};
  const size_t count = 5 + random() % 8;
  for (size_t i = 0; i < count; ++i) {
    Step step{static_cast<uint32_t>(random()), static_cast<uint32_t>(random()),
              static_cast<uint32_t>(random()), static_cast<uint32_t>(random() % 12)};
    // Most often a step goes on from the last one.
    if (random() % 2) step.a = static_cast<uint32_t>(2 + i);
    recipe.steps.push_back(step);
  }
  return recipe;
}

RandomGraph build(const Recipe& recipe, DType dtype) {
  RandomGraph graph;
  graph.module = std::make_unique<Module>("random");
  graph.function = &graph.module->function("f");
  Function& f = *graph.function;
  graph.arguments = {f.argument("a", {dtype, {3, 4}}), f.argument("b", {dtype, {2, 5, 6, 3}}),
                     f.argument("c", {dtype, {4}})};
  Values values = graph.arguments, results;
  for (const Step& step : recipe.steps) {
    const Value made = make_step(step, values);
    if (!made) continue;
    values.push_back(made);
    results.push_back(made);
  }
  graph.loss = constant(f, Literal::scalar(dtype, 0));
  for (size_t i = 0; i < results.size(); ++i) {
    f.result("r" + std::to_string(i), results[i]);
    graph.loss = graph.loss + mean(results[i] * parameter(results[i], results[i].shape()));
  }
  f.result("loss", graph.loss);
  const Values gradients = adjoint::gradients({graph.loss}, graph.arguments);
  graph.gradients = gradients.size();
  for (size_t i = 0; i < gradients.size(); ++i) f.result("g" + std::to_string(i), gradients[i]);
  return graph;
}

oracle::Feeds random_feeds(const Recipe& recipe, const RandomGraph& graph) {
  oracle::Feeds feeds;
  for (Value argument : graph.arguments) {
    feeds.emplace(leaf_name(argument.node()),
                  sample(uniform(-2, 2), argument.type(), recipe.seed * 31 + feeds.size()));
  }
  return feeds;
}

}  // namespace adjoint::testing
