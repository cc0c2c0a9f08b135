// Two hundred op calls and their gradients as PyTorch computes them (tests/fixtures).
#include <gtest/gtest.h>

#include <functional>
#include <map>

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
#include "tests/harness/case_graph.h"
#include "tests/harness/fixture.h"
#include "tests/harness/interpreter.h"

namespace adjoint::testing {
namespace {

using In = const Values&;
using Builder = std::function<Value(In, const Json&)>;
using Ints = std::vector<int64_t>;

template <typename F>
Builder unary(F f) {
  return [f](In x, const Json&) { return f(x[0]); };
}
template <typename F>
Builder binary(F f) {
  return [f](In x, const Json&) { return f(x[0], x[1]); };
}
Builder reduction(Value (*f)(Located, Ints, bool)) {
  return [f](In x, const Json& a) { return f(x[0], {a["axis"].get<int64_t>()}, a["keep"]); };
}

void add_elementwise(std::map<std::string, Builder>& builders) {
  const std::pair<const char*, Value (*)(Located)> unaries[] = {
      {"exp", exp},       {"expm1", expm1},     {"log", log},
      {"log1p", log1p},   {"sqrt", sqrt},       {"rsqrt", rsqrt},
      {"square", square}, {"sin", sin},         {"cos", cos},
      {"tanh", tanh},     {"sigmoid", sigmoid}, {"softplus", softplus},
      {"relu", relu},     {"silu", silu},       {"erf", erf},
      {"abs", abs},       {"neg", neg},         {"reciprocal", reciprocal}};
  for (const auto& [op, f] : unaries) builders[op] = unary(f);
  const std::pair<const char*, Value (*)(Located, Value)> binaries[] = {
      {"add", add},
      {"sub", sub},
      {"mul", mul},
      {"div", div},
      {"pow", pow},
      {"maximum", maximum},
      {"minimum", minimum},
      {"softmax_cross_entropy", softmax_cross_entropy},
      {"softmax_cross_entropy_dense", softmax_cross_entropy_dense},
      {"mean_squared_error", mean_squared_error},
      {"l1_loss", l1_loss},
      {"binary_cross_entropy_with_logits", binary_cross_entropy_with_logits}};
  for (const auto& [op, f] : binaries) builders[op] = binary(f);
  const std::pair<const char*, Value (*)(Located, Ints, bool)> reductions[] = {
      {"sum", sum},           {"mean", mean},          {"max", max}, {"min", min}, {"prod", prod},
      {"variance", variance}, {"logsumexp", logsumexp}};
  for (const auto& [op, f] : reductions) builders[op] = reduction(f);
  builders["leaky_relu"] = [](In x, const Json& a) { return leaky_relu(x[0], a["slope"]); };
  builders["elu"] = [](In x, const Json& a) { return elu(x[0], a["alpha"]); };
  builders["gelu"] = [](In x, const Json& a) { return gelu(x[0], a["approximate"]); };
  builders["clamp"] = [](In x, const Json& a) { return clamp(x[0], a["low"], a["high"]); };
}

// They are calls on a [3,4,5] tensor; see tests/fixtures/op_calls.py.
void add_moves(std::map<std::string, Builder>& builders) {
  builders["transpose"] = [](In x, const Json& a) {
    return transpose(x[0], a["permutation"].get<Ints>());
  };
  builders["reshape"] = [](In x, const Json& a) {
    return reshape(x[0], Shape::of(a["shape"].get<Ints>()));
  };
  builders["slice"] = [](In x, const Json& a) {
    return slice(x[0], {0, a["start"].get<int64_t>(), 1}, {3, 4, 4}, {1, a["step"], 1});
  };
  builders["pad"] = [](In x, const Json& a) {
    return pad(x[0], {0, 1, a["low"].get<int64_t>()}, {0, 0, a["high"].get<int64_t>()}, {}, 0.5);
  };
  builders["concat"] = [](In x, const Json& a) { return concat(x, a["axis"].get<int64_t>()); };
  builders["gather"] = [](In x, const Json& a) {
    return gather(x[0], x[1], a["axis"].get<int64_t>());
  };
}

Conv2dAttributes conv_attributes(const Json& a) {
  return {.stride = a["stride"],
          .dilation = a.value("dilation", Ints{1, 1}),
          .padding = Padding::explicit_,
          .pads = a["pads"],
          .groups = a.value("groups", 1)};
}

PoolAttributes pool_attributes(const Json& a) {
  return {.window = a["window"],
          .stride = a["stride"],
          .padding = Padding::explicit_,
          .pads = a["pads"]};
}

void add_networks(std::map<std::string, Builder>& builders) {
  builders["matmul"] = [](In x, const Json& a) {
    return matmul(x[0], x[1], {.transpose_a = a["ta"], .transpose_b = a["tb"]});
  };
  builders["conv2d"] = [](In x, const Json& a) { return conv2d(x[0], x[1], conv_attributes(a)); };
  builders["conv2d_transpose"] = [](In x, const Json& a) {
    return conv2d_transpose(x[0], x[1], conv_attributes(a), {a["extra"][0], a["extra"][1]});
  };
  builders["max_pool"] = [](In x, const Json& a) { return max_pool(x[0], pool_attributes(a)); };
  builders["avg_pool"] = [](In x, const Json& a) {
    return avg_pool(x[0], pool_attributes(a), a["count_include_pad"]);
  };
  builders["batch_norm"] = [](In x, const Json& a) {
    return batch_norm(x[0], x[1], x[2], a["epsilon"]).y;
  };
  builders["layer_norm"] = [](In x, const Json& a) {
    return layer_norm(x[0], x[1], x[2], a["epsilon"]).y;
  };
  builders["batch_norm_inference"] = [](In x, const Json& a) {
    return batch_norm_inference(x[0], x[1], x[2], x[3], x[4], a["epsilon"]);
  };
  builders["softmax"] = [](In x, const Json& a) { return softmax(x[0], a["axis"]); };
  builders["log_softmax"] = [](In x, const Json& a) { return log_softmax(x[0], a["axis"]); };
}

const std::map<std::string, Builder>& builders() {
  static const std::map<std::string, Builder> kBuilders = [] {
    std::map<std::string, Builder> builders;
    add_elementwise(builders);
    add_moves(builders);
    add_networks(builders);
    return builders;
  }();
  return kBuilders;
}

const Fixture& fixture() {
  static const Fixture kFixture("tests/fixtures/data/op_calls.gz");
  return kFixture;
}

oracle::Tensor as(DType dtype, oracle::Tensor tensor) {
  if (is_float(tensor.dtype)) tensor.dtype = dtype;
  return tensor;
}

// The call in this type, its inputs' gradients too, to within `tolerance` of the largest element.
void check_call(const Json& call, DType dtype, double tolerance) {
  Module module("call");
  Function& f = module.function("f");
  Values inputs, wrt;
  oracle::Feeds feeds;
  std::vector<oracle::Tensor> want = {as(dtype, fixture().tensor(call["output"]))};
  for (size_t i = 0; i < call["inputs"].size(); ++i) {
    const std::string name = "x" + std::to_string(i);
    const oracle::Tensor input = as(dtype, fixture().tensor(call["inputs"][i]));
    inputs.push_back(f.argument(name, {input.dtype, Shape::of(input.dims)}));
    feeds.emplace(name, input);
    if (call["gradients"][i].is_null()) continue;
    wrt.push_back(inputs.back());
    want.push_back(as(dtype, fixture().tensor(call["gradients"][i])));
  }
  const Value y = builders().at(call["op"])(inputs, call["attributes"]);
  f.result("y", y);
  const oracle::Tensor cotangent = as(dtype, fixture().tensor(call["cotangent"]));
  feeds.emplace("u", cotangent);
  const Value u = f.argument("u", {dtype, Shape::of(cotangent.dims)});
  const Values g = gradients({y}, wrt, {u});
  for (size_t i = 0; i < g.size(); ++i) f.result("g" + std::to_string(i), g[i]);
  const oracle::Outputs got = interpret(f, feeds);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_TRUE(close(got[i], want[i], tolerance, 1)) << (i == 0 ? "value" : "gradient");
  }
}

class TorchOps : public ::testing::TestWithParam<size_t> {};

TEST_P(TorchOps, ValuesAndGradients) {
  const Json& call = fixture().index()["calls"][GetParam()];
  SCOPED_TRACE(call["op"].get<std::string>() + " " + call["attributes"].dump());
  check_call(call, DType::f64, 1e-12);
  check_call(call, DType::f32, 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Calls, TorchOps, ::testing::Range<size_t>(0, 200));

TEST(TorchOps, ThereAreTwoHundred) { EXPECT_EQ(fixture().index()["calls"].size(), 200u); }

}  // namespace
}  // namespace adjoint::testing
