// A reduced reference network on the GPU runtime: 30 steps whose data, shuffle and place in the
// epoch are in the graph, beside the CPU's; its bits in any order of blocks and streams; and the
// training runs of PyTorch's fixtures. On the test double as on a GPU.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "autodiff/optimizers.h"
#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/initializers.h"
#include "ops/layers/layers.h"
#include "ops/layers/sequential.h"
#include "ops/loss.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "runtime/cpu/device.h"
#include "runtime/executable.h"
#include "runtime/optimize.h"
#include "runtime/plan_streams.h"
#include "runtime/plan_verifier.h"
#include "runtime/planner.h"
#include "tests/harness/case_graph.h"
#include "tests/harness/gpu.h"
#include "tests/harness/interpreter.h"
#include "tests/harness/torch_training.h"

namespace adjoint::testing {
namespace {

constexpr int64_t kRows = 12, kImages = 37, kBatch = 8, kSteps = 30;

std::vector<LayerSpec> small_cnn() {
  using namespace layers;  // NOLINT: the list reads as the layers' names
  return {conv2d("conv1", {.filters = 4, .kernel = 3}),
          batch_norm("norm1"),
          relu(),
          max_pool(2),
          conv2d("conv2", {.filters = 6, .kernel = 3}),
          batch_norm("norm2"),
          relu(),
          max_pool(2),
          flatten(),
          dense("dense1", 16),
          batch_norm("norm3"),
          relu(),
          dense("dense2", 10)};
}

// train(): one step on the next `batch` of the shuffled images.
class SmallModel {
 public:
  SmallModel()
      : network_(module_, {DType::f32, {Dim::symbol("batch"), kRows, kRows, 1}}, small_cnn()) {
    for (const char* name : {"epoch", "position"}) {
      module_.variable(name, {DType::i64, {}}, {}, false);
    }
    module_.variable("loss_sum", {DType::f64, {}}, {}, false);
    const Dim count = Dim::symbol("count");
    module_.resource("images", {DType::u8, {count, kRows, kRows, 1}});
    module_.resource("labels", {DType::u8, {count}});
    build_train();
    add_initialize(module_);
    optimal_ = optimize(module_.get_function("train")).function;
  }

  const Module& module() const { return module_; }
  const Function& train() const { return *optimal_; }

 private:
  void build_train() {
    Function& f = module_.function("train");
    auto variable = [&](const char* name) -> const Variable& {
      return *module_.find_variable(name);
    };
    const Value epoch = f.read(variable("epoch")), position = f.read(variable("position"));
    const Value key = fold_in(constant(f, Literal::integer(5)), epoch);
    const Value place = position + iota(f, {Dim::symbol("batch")});
    const Value index = permute_index(key, place, Dim::symbol("count"));
    const Value images = gather(f.resource(*module_.find_resource("images")), index);
    const Value labels = gather(f.resource(*module_.find_resource("labels")), index);
    const Value logits = network_.apply({f, Mode::training, key}, cast(images, DType::f32) / 255.0);
    const Value losses = softmax_cross_entropy(logits, labels);
    const Value loss = mean(losses);
    Sgd({.learning_rate = 0.1, .momentum = 0.9}).minimize(f, loss);
    f.update(variable("loss_sum"), f.read(variable("loss_sum")) + sum(cast(losses, DType::f64)));
    const Value reached = position + dim_size(place, 0);
    const Value ends = greater_equal(reached, constant(f, Literal::integer(kImages)));
    f.update(variable("position"), select(ends, constant(f, Literal::integer(0)), reached));
    f.update(variable("epoch"), epoch + cast(ends, DType::i64));
    f.result("loss", loss);
  }

  Module module_{"small"};
  Sequential network_;
  std::unique_ptr<Function> optimal_;
};

// Digits of a kind: bright where the label says, noise elsewhere.
struct Data {
  Tensor images, labels;
};
Data make_data() {
  std::mt19937 random(1);
  std::vector<uint8_t> pixels(kImages * kRows * kRows), labels(kImages);
  for (int64_t i = 0; i < kImages; ++i) {
    labels[i] = random() % 10;
    for (int64_t p = 0; p < kRows * kRows; ++p) {
      const bool bright = p / kRows == labels[i] + 1;
      pixels[i * kRows * kRows + p] = bright ? 200 + random() % 50 : random() % 50;
    }
  }
  return {Tensor::of<uint8_t>({kImages, kRows, kRows, 1}, pixels),
          Tensor::of<uint8_t>({kImages}, labels)};
}

struct Trained {
  std::vector<float> losses;
  Tensors variables;
};

Tensor on_host(Device& device, const Tensor& tensor) {
  const Tensor host = Tensor::uninitialized(tensor.type());
  device.copy(tensor, host);
  return host;
}

void initialize(const SmallModel& model, State& state) {
  const std::shared_ptr<Device> cpu = cpu::device(1);
  State drawn(model.module(), cpu);
  Executable(model.module().get_function("initialize"), cpu)
      .run(drawn, {{"key", Tensor::of<int64_t>({}, {3})}});
  for (const std::string& name : drawn.variable_names()) state.set(name, drawn.get(name));
}

Trained train(const SmallModel& model, const std::shared_ptr<Device>& device) {
  State state(model.module(), device);
  initialize(model, state);
  const Data data = make_data();
  state.bind("images", data.images);
  state.bind("labels", data.labels);
  Executable step(model.train(), device);
  // At one place, so that a GPU's steps are captured.
  const Tensor loss = device->allocate({DType::f32, {}});
  Trained trained;
  for (int64_t i = 0, position = 0; i < kSteps; ++i) {
    const int64_t batch = std::min(kBatch, kImages - position);
    position = (position + batch) % kImages;
    const DimBindings bindings = {{"batch", batch}};
    const int64_t launched = gpu_launches();
    step.run(state, {}, {.bindings = bindings, .into = {{"loss", loss}}});
    trained.losses.push_back(on_host(*device, loss).item<float>());
    if (device->id().kind == DeviceKind::cuda) {
      EXPECT_GE(gpu_launches() - launched, launches_with_work(step.prepare(state, bindings)));
    }
  }
  for (const std::string& name : state.variable_names()) {
    trained.variables[name] = state.get(name);
  }
  return trained;
}

void expect_close(const Trained& got, const Trained& want) {
  constexpr double kTolerance = 1e-4;
  for (int64_t i = 0; i < kSteps; ++i) {
    EXPECT_NEAR(got.losses[i], want.losses[i], kTolerance) << "loss of step " << i;
  }
  for (const auto& [name, tensor] : want.variables) {
    EXPECT_TRUE(close(from_runtime(got.variables.at(name)), from_runtime(tensor), kTolerance, 1))
        << name;
  }
}

void expect_same_bits(const Trained& got, const Trained& want) {
  EXPECT_EQ(got.losses, want.losses);
  for (const auto& [name, tensor] : want.variables) {
    const Tensor& other = got.variables.at(name);
    ASSERT_EQ(other.type(), tensor.type()) << name;
    EXPECT_EQ(std::memcmp(other.data(), tensor.data(), tensor.byte_count()), 0) << name;
  }
}

TEST(GpuModel, TrainsAsTheCpu) {
  const SmallModel model;
  const Trained want = train(model, cpu::device(2));
  EXPECT_LT(want.losses.back(), want.losses.front() / 2);  // or the bounds say little
  GpuUnderTest gpu;
  expect_close(train(model, gpu.device()), want);
}

TEST(GpuModel, TwoRunsGiveTheSameBits) {
  const SmallModel model;
  GpuUnderTest gpu;
  const Trained want = train(model, gpu.device({.kernel_cache = kernel_cache()}));
  expect_same_bits(train(model, gpu.device({.kernel_cache = kernel_cache()})), want);
}

Plan plan_of(const SmallModel& model, const Device& device) {
  Plan plan = make_plan(model.train(), {{"batch", kBatch}, {"count", kImages}}, device);
  verify_plan(plan, device);
  return plan;
}

TEST(GpuModel, ItsStepIsSpreadOverStreams) {
  const SmallModel model;
  GpuUnderTest gpu;
  const std::shared_ptr<Device> device = gpu.device();
  const Plan plan = plan_of(model, *device);
  int streams = 0, waits = 0;
  for (size_t i = 0; i < plan.launches.size(); ++i) {
    streams = std::max(streams, plan.launches[i].stream + 1);
    for (int32_t wait : plan.launches[i].waits) {
      Plan bad = plan;
      std::erase(bad.launches[i].waits, wait);
      EXPECT_THROW(verify_plan(bad, *device), PlanError) << i << " waits for " << wait;
      ++waits;
    }
  }
  EXPECT_GT(streams, 1);
  EXPECT_GT(waits, 1);
  const Plan one = plan_of(model, *gpu.device({.streams = 1}));
  EXPECT_LT(step_seconds(plan, device->stream_model()), step_seconds(one, device->stream_model()));
}

TEST(GpuModel, OneStreamGivesTheSameBits) {
  const SmallModel model;
  GpuUnderTest gpu;
  const Trained want = train(model, gpu.device({.streams = 1, .kernel_cache = kernel_cache()}));
  expect_same_bits(train(model, gpu.device({.kernel_cache = kernel_cache()})), want);
}

#ifdef ADJOINT_FAKE_CUDA

Trained train_with(const SmallModel& model, const fake_cuda::Settings& settings) {
  GpuUnderTest gpu(settings);
  return train(model, gpu.device({.kernel_cache = kernel_cache()}));
}

TEST(GpuModel, BlockOrdersGiveTheSameBits) {
  using fake_cuda::BlockOrder;
  const SmallModel model;
  const Trained want = train_with(model, {});
  expect_same_bits(train_with(model, {.block_order = BlockOrder::reverse}), want);
  expect_same_bits(train_with(model, {.block_order = BlockOrder::shuffled, .seed = 2}), want);
}

TEST(GpuModel, StreamOrdersGiveTheSameBits) {
  using fake_cuda::StreamOrder;
  const SmallModel model;
  const Trained want = train_with(model, {.stream_order = StreamOrder::oldest_first});
  expect_same_bits(train_with(model, {.stream_order = StreamOrder::newest_first}), want);
  expect_same_bits(train_with(model, {.stream_order = StreamOrder::shuffled, .seed = 3}), want);
}

#endif

class GpuTorchTraining : public ::testing::TestWithParam<TrainingSetting> {};

TEST_P(GpuTorchTraining, TenSteps) {
  GpuUnderTest gpu;
  const std::shared_ptr<Device> device = gpu.device();
  check_training(GetParam(), device, GetParam().dtype == DType::f32 ? 1e-4 : 1e-9, true);
}

INSTANTIATE_TEST_SUITE_P(Models, GpuTorchTraining, ::testing::ValuesIn(training_settings()),
                         training_title);

}  // namespace
}  // namespace adjoint::testing
