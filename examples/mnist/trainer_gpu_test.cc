// Training on the GPU against the CPU, on the test double or on a GPU.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "examples/mnist/test_digits.h"
#include "examples/mnist/trainer.h"
#include "graph/error.h"
#include "runtime/cpu/device.h"
#include "runtime/cuda/device.h"
#include "runtime/executable.h"
#include "runtime/optimize.h"
#include "runtime/precision.h"
#include "tests/harness/gpu.h"

namespace adjoint::mnist {
namespace {

constexpr int64_t kSide = 16;  // pixels

struct Trial {
  MnistModel model;
  Trainer trainer;

  Trial(std::shared_ptr<Device> device, const std::string& network, int64_t images,
        const TrainerOptions& options = {.batch = 8})
      : model({.network = network, .rows = kSide, .columns = kSide, .learning_rate = 0.05}),
        trainer(model, std::move(device), options) {
    trainer.bind_training(make_digits(images, kSide, 1));
    trainer.bind_test(make_digits(20, kSide, 2));
    trainer.prepare();
    trainer.initialize(7);
  }
  EpochResult epoch(int64_t steps = 1000) {
    return trainer.run_epoch([&](int64_t) { return --steps > 0; });
  }
};

void expect_same(const Score& a, const Score& b, double tolerance) {
  EXPECT_NEAR(a.loss, b.loss, tolerance * b.loss);
  EXPECT_EQ(a.accuracy, b.accuracy);
}

void expect_same_state(const State& a, const State& b) {
  for (const std::string& name : a.variable_names()) {
    const Tensor x = a.get(name), y = b.get(name);
    EXPECT_EQ(std::memcmp(x.data(), y.data(), x.byte_count()), 0) << name;
  }
}

const TrainerOptions kStreamed = {.batch = 8, .max_resident_bytes = 0};

class GpuTrainer : public ::testing::Test {
 protected:
  std::shared_ptr<Device> make_device() const {
    return gpu_.device({.autotune = false, .kernel_cache = adjoint::testing::kernel_cache()});
  }

  adjoint::testing::GpuUnderTest gpu_;
};

TEST_F(GpuTrainer, TrainsAsTheCpuDoes) {
  for (const char* network : {"mlp", "cnn"}) {
    SCOPED_TRACE(network);
    Trial cpu(cpu::device(1), network, 29), gpu(make_device(), network, 29);  // 8, 8, 8 and 5
    for (int i = 0; i < 2; ++i) {
      const EpochResult want = cpu.epoch(), got = gpu.epoch();
      EXPECT_TRUE(got.finished);
      EXPECT_EQ(got.images, 29);
      expect_same(got.train, want.train, 1e-4);
      expect_same(gpu.trainer.evaluate(), cpu.trainer.evaluate(), 1e-4);
    }
    std::vector<std::vector<int64_t>> confusion, expected;
    gpu.trainer.evaluate(&confusion);
    cpu.trainer.evaluate(&expected);
    EXPECT_EQ(confusion, expected);
    const std::vector<float> p = gpu.trainer.predict(make_digits(1, kSide, 3).images);
    const std::vector<float> q = cpu.trainer.predict(make_digits(1, kSide, 3).images);
    for (size_t i = 0; i < p.size(); ++i) EXPECT_NEAR(p[i], q[i], 1e-4) << i;
  }
}

TEST_F(GpuTrainer, Bf16StaysNearF32) {
  Trial f32(cpu::device(1), "mlp", 29);
  Trial bf16(make_device(), "mlp", 29, {.batch = 8, .precision = Precision::bf16});
  const double want = f32.epoch().train.loss, got = bf16.epoch().train.loss;
  EXPECT_NEAR(got, want, 0.05 * want);
  EXPECT_GT(std::abs(got - want), 1e-6);  // it does round
}

TEST_F(GpuTrainer, AStoppedEpochGoesOnExactly) {
  Trial whole(make_device(), "mlp", 29), parts(make_device(), "mlp", 29);
  const EpochResult all = whole.epoch();
  EXPECT_FALSE(parts.epoch(2).finished);
  EXPECT_EQ(parts.trainer.position(), 16);
  const EpochResult rest = parts.epoch();
  EXPECT_TRUE(rest.finished);
  EXPECT_EQ(rest.images, 13);
  EXPECT_EQ(rest.train.loss, all.train.loss);
}

TEST_F(GpuTrainer, OverlappingLaunchesGiveTheSameBits) {
  const auto overlapping = [&] {
    return gpu_.device(
        {.autotune = false, .overlap = true, .kernel_cache = adjoint::testing::kernel_cache()});
  };
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    const TrainerOptions options = {.batch = 8, .precision = precision};
    Trial plain(make_device(), "cnn", 29, options), overlapped(overlapping(), "cnn", 29, options);
    for (int i = 0; i < 2; ++i) expect_same(overlapped.epoch().train, plain.epoch().train, 0);
    expect_same(overlapped.trainer.evaluate(), plain.trainer.evaluate(), 0);
    expect_same_state(overlapped.trainer.state(), plain.trainer.state());
  }
#ifdef ADJOINT_FAKE_CUDA
  EXPECT_GT(fake_cuda::overlap_count(), 3 * 16);  // several in each step
#endif
}

TEST_F(GpuTrainer, StreamedDataGiveTheSameBits) {
  for (const char* network : {"mlp", "cnn"}) {
    SCOPED_TRACE(network);
    const std::shared_ptr<Device> device = make_device();
    Trial resident(device, network, 29), streamed(device, network, 29, kStreamed);
    EXPECT_EQ(resident.trainer.training_data(), DataPlace::resident);
    EXPECT_EQ(streamed.trainer.training_data(), DataPlace::streamed);
    EXPECT_EQ(streamed.trainer.test_data(), DataPlace::streamed);
    for (int i = 0; i < 2; ++i) {
      expect_same(streamed.epoch().train, resident.epoch().train, 0);
      std::vector<std::vector<int64_t>> found, want;
      expect_same(streamed.trainer.evaluate(&found), resident.trainer.evaluate(&want), 0);
      EXPECT_EQ(found, want);
      expect_same_state(streamed.trainer.state(), resident.trainer.state());
    }
  }
}

// Stopped where batches are on their way that no step takes.
TEST_F(GpuTrainer, AStoppedStreamGoesOnExactly) {
  const std::shared_ptr<Device> device = make_device();
  Trial whole(device, "mlp", 61), parts(device, "mlp", 61, kStreamed);
  const EpochResult all = whole.epoch();
  EXPECT_FALSE(parts.epoch(3).finished);
  parts.trainer.evaluate();
  const EpochResult rest = parts.epoch();
  EXPECT_EQ(rest.images, 61 - 24);
  EXPECT_EQ(rest.train.loss, all.train.loss);
  expect_same_state(whole.trainer.state(), parts.trainer.state());
}

TEST_F(GpuTrainer, ABadLossFreezesTheStateAndNamesTheNode) {
  for (const TrainerOptions& options : {TrainerOptions{.batch = 8}, kStreamed}) {
    Trial trial(make_device(), "mlp", 29, options);
    EXPECT_FALSE(trial.epoch(1).finished);
    Tensor weights = trial.trainer.state().get("dense2/weights");
    weights.values<float>()[0] = std::nanf("");
    trial.trainer.state().set("dense2/weights", weights);
    const Tensor before = trial.trainer.state().get("dense1/weights");
    try {
      trial.epoch();
      FAIL() << "no error";
    } catch (const DataError& error) {
      const std::string what = error.what();
      EXPECT_EQ(what.find("the loss is nan in epoch 1; a smaller --lr may help\n  first seen in "),
                0u)
          << what;
      EXPECT_NE(what.find("examples/mnist/model.cc:"), std::string::npos) << what;
    }
    // All three steps were enqueued; none has moved anything.
    EXPECT_EQ(trial.trainer.position(), 8);
    const Tensor after = trial.trainer.state().get("dense1/weights");
    EXPECT_EQ(std::memcmp(before.data(), after.data(), before.byte_count()), 0);
  }
}

// Long before the epoch's end, though nothing reads a value.
TEST_F(GpuTrainer, ABadLossIsNoticedWithinASecond) {
  Trial trial(gpu_.device({.autotune = false}), "mlp", 25 * 8);
  Tensor weights = trial.trainer.state().get("dense2/weights");
  weights.values<float>()[0] = std::nanf("");
  trial.trainer.state().set("dense2/weights", weights);
  int steps = 0;
  EXPECT_THROW(trial.trainer.run_epoch([&](int64_t) {
    if (++steps == 1) std::this_thread::sleep_for(std::chrono::milliseconds(1100));
    return true;
  }),
               DataError);
  EXPECT_EQ(steps, 1);
}

#ifdef ADJOINT_FAKE_CUDA
// Kernels and library calls of a step of the reference network; its updates are written straight.
// The batch is what our products of tiles take for an input's gradient.
TEST_F(GpuTrainer, AStepTakesFewLaunches) {
  const auto launches_in = [&](Precision precision) {
    const MnistModel model({.network = "cnn"});
    const auto optimized = apply_precision(*optimize(model.train()).function, precision);
    const std::shared_ptr<Device> device = make_device();
    State state(model.module(), device);
    state.bind(kTrainImages, Tensor::zeros({DType::u8, {32, 28, 28, 1}}));
    state.bind(kTrainLabels, Tensor::zeros({DType::u8, {32}}));
    Executable train(*optimized.function, device);
    const DimBindings bindings = {{"batch", 32}};
    for (const Launch& launch : train.prepare(state, bindings).launches) {
      EXPECT_FALSE(launch.is_copy());
    }
    const Tensor loss = Tensor::zeros({DType::f32, {}});
    const int64_t before = adjoint::testing::gpu_launches();
    train.run(state, {}, {.bindings = bindings, .into = {{"loss", loss}}});
    return adjoint::testing::gpu_launches() - before;
  };
  EXPECT_LE(launches_in(Precision::f32), 21);
  EXPECT_LE(launches_in(Precision::bf16), 19);
}

// What the host waits for does not depend on the number of steps, up to 32 on their way.
TEST_F(GpuTrainer, WaitsOnlyForTheEpochsEnd) {
  Trial trial(make_device(), "mlp", 25 * 8);
  trial.epoch();
  const int64_t begin = fake_cuda::wait_count();
  trial.epoch();
  const int64_t trained = fake_cuda::wait_count();
  EXPECT_LE(trained - begin, 8);
  trial.trainer.evaluate();
  EXPECT_LE(fake_cuda::wait_count() - trained, 8);
}

// The steps of both slots, of full batches and of the last one, are captured once.
TEST_F(GpuTrainer, StreamedStepsAreReplayed) {
  Trial trial(make_device(), "mlp", 25 * 8, kStreamed);
  for (int i = 0; i < 2; ++i) {
    trial.epoch();
    trial.trainer.evaluate();
  }
  const int64_t captured = fake_cuda::graph_count();
  trial.epoch();
  trial.trainer.evaluate();
  EXPECT_EQ(fake_cuda::graph_count(), captured);
}

// A device that has room for the state and the arena, but not for the images.
TEST(GpuTrainerMemory, WhatDoesNotFitIsStreamed) {
  constexpr int64_t kImages = 20000;  // 5 MB
  const adjoint::testing::GpuUnderTest gpu({.memory_bytes = size_t{9} << 20});
  Trial trial(gpu.device({.autotune = false, .kernel_cache = adjoint::testing::kernel_cache()}),
              "mlp", kImages, {.batch = 64});
  EXPECT_EQ(trial.trainer.training_data(), DataPlace::streamed);
  EXPECT_EQ(trial.trainer.test_data(), DataPlace::resident);
  EXPECT_FALSE(trial.epoch(6).finished);
  EXPECT_EQ(trial.trainer.position(), 6 * 64);
}
#endif

}  // namespace
}  // namespace adjoint::mnist
