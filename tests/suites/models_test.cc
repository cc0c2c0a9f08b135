// Whole networks, trained as users train theirs: optimised, lowered and planned. Gradients along
// one random direction, against differences in double, and float against double; for the reference
// network, and for one of other filters, kernels and images.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <optional>
#include <ostream>
#include <random>

#include "autodiff/gradients.h"
#include "graph/module.h"
#include "ops/layers/layers.h"
#include "ops/layers/sequential.h"
#include "ops/loss.h"
#include "ops/reduce.h"
#include "runtime/cpu/device.h"
#include "runtime/executable.h"
#include "runtime/optimize.h"

namespace adjoint::testing {
namespace {

constexpr int64_t kBatch = 6;

struct Network {
  const char* name;
  Shape input;
  std::vector<LayerSpec> (*layers)();
};

std::vector<LayerSpec> convolutions(int64_t first, int64_t second, int64_t kernel, int64_t units) {
  using namespace layers;
  return {conv2d("conv1", {.filters = first, .kernel = kernel}),
          batch_norm("norm1"),
          relu(),
          max_pool(2),
          conv2d("conv2", {.filters = second, .kernel = kernel}),
          batch_norm("norm2"),
          relu(),
          max_pool(2),
          flatten(),
          dense("dense1", units),
          batch_norm("norm3"),
          relu(),
          dense("dense2", 10)};
}

const Network kNetworks[] = {
    {"reference", {kBatch, 28, 28, 1}, [] { return convolutions(24, 48, 5, 512); }},
    {"variant", {kBatch, 30, 26, 3}, [] { return convolutions(7, 13, 3, 50); }},
    {"mlp", {kBatch, 28, 28, 1}, [] {
       using namespace layers;
       return std::vector<LayerSpec>{flatten(), dense("dense1", 64), relu(), dense("dense2", 10)};
     }}};

// Numbers from -1 to 1.
std::vector<double> random_numbers(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<double> numbers;
  for (int64_t i = 0; i < count; ++i) numbers.push_back(generator() / 2147483647.5 - 1);
  return numbers;
}

class Model {
 public:
  Model(const Network& network, DType dtype)
      : module_("model"),
        layers_(module_, {dtype, network.input}, network.layers()),
        device_(cpu::device(2)),
        dtype_(dtype) {
    Function& f = module_.function("train");
    const Value x = f.argument("x", layers_.input());
    const Value labels = f.argument("labels", {DType::i64, {kBatch}});
    const Value loss = mean(softmax_cross_entropy(layers_.apply({f, Mode::training}, x), labels));
    std::vector<Value> weights;
    for (const auto& variable : module_.variables()) {
      if (!variable->trainable) continue;
      weights.push_back(f.read(*variable));
      weights_.push_back(draw(*variable, static_cast<uint32_t>(weights.size())));
    }
    f.result("loss", loss);
    const std::vector<Value> slopes = gradients({loss}, weights);
    for (size_t i = 0; i < slopes.size(); ++i) f.result("slope/" + weights_[i].name, slopes[i]);
    function_ = optimize(f).function;
    executable_.emplace(*function_, device_);
    state_.emplace(module_, device_);
  }

  // Loss and gradients where the weights are start + scale * direction.
  Tensors run(double scale) {
    for (const Weights& w : weights_) {
      std::vector<double> values = w.start;
      for (size_t i = 0; i < values.size(); ++i) values[i] += scale * w.direction[i];
      state_->set(w.name, tensor(w.dims, values));
    }
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < kBatch; ++i) labels.push_back(i * 7 % 10);
    const Shape& shape = layers_.input().shape;
    const std::vector<double> pixels = random_numbers(shape.element_count().value(), 0);
    return executable_->run(*state_, {{"x", tensor(shape.static_dims(), pixels)},
                                      {"labels", Tensor::of<int64_t>({kBatch}, labels)}});
  }
  double loss(double scale) { return numbers(run(scale).at("loss"))[0]; }

  // The derivative of the loss for the scale, at 0.
  double slope() {
    const Tensors results = run(0);
    double sum = 0;
    for (const Weights& w : weights_) {
      const std::vector<double> gradient = numbers(results.at("slope/" + w.name));
      for (size_t i = 0; i < gradient.size(); ++i) sum += gradient[i] * w.direction[i];
    }
    return sum;
  }

 private:
  struct Weights {
    std::string name;
    std::vector<int64_t> dims;
    std::vector<double> start, direction;
  };
  // Of a size that keeps the layers' outputs near 1.
  static Weights draw(const Variable& variable, uint32_t seed) {
    const std::vector<int64_t> dims = variable.type.shape.static_dims();
    const int64_t count = variable.type.shape.element_count().value();
    const double size =
        std::sqrt(6.0 * static_cast<double>(dims.back()) / static_cast<double>(count));
    Weights w{variable.name, dims, random_numbers(count, 2 * seed),
              random_numbers(count, 2 * seed + 1)};
    for (size_t i = 0; i < w.start.size(); ++i) {
      w.start[i] *= size;
      w.direction[i] *= size;
    }
    return w;
  }
  Tensor tensor(const std::vector<int64_t>& dims, const std::vector<double>& values) const {
    if (dtype_ == DType::f64) return Tensor::of<double>(dims, values);
    return Tensor::of<float>(dims, std::vector<float>(values.begin(), values.end()));
  }
  std::vector<double> numbers(const Tensor& tensor) const {
    if (dtype_ == DType::f32) {
      const auto values = tensor.values<float>();
      return {values.begin(), values.end()};
    }
    const auto values = tensor.values<double>();
    return {values.begin(), values.end()};
  }

  Module module_;
  Sequential layers_;
  std::shared_ptr<Device> device_;
  DType dtype_;
  std::vector<Weights> weights_;
  std::unique_ptr<Function> function_;
  std::optional<Executable> executable_;
  std::optional<State> state_;
};

void PrintTo(const Network& network, std::ostream* out) { *out << network.name; }

class Models : public ::testing::TestWithParam<Network> {};

TEST_P(Models, GradientsAlongADirection) {
  Model in_double(GetParam(), DType::f64), in_float(GetParam(), DType::f32);
  const double slope = in_double.slope(), step = 1e-7;  // crosses no kink
  const double difference = (in_double.loss(step) - in_double.loss(-step)) / (2 * step);
  EXPECT_GT(std::fabs(slope), 0.01);  // or the bounds below say nothing
  EXPECT_NEAR(slope, difference, 1e-5 * std::fabs(difference));
  EXPECT_NEAR(in_float.loss(0), in_double.loss(0), 1e-5 * in_double.loss(0));
  EXPECT_NEAR(in_float.slope(), slope, 2e-3 * std::fabs(slope));
}

INSTANTIATE_TEST_SUITE_P(Networks, Models, ::testing::ValuesIn(kNetworks),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace adjoint::testing
