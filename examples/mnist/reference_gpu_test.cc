// The reference network in its full size on the GPU runtime, beside the CPU's: a few steps of its
// recipe, on the test double or on a GPU. It takes the double half a minute,
// so this is run by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "examples/mnist/test_digits.h"
#include "examples/mnist/trainer.h"
#include "runtime/cpu/device.h"
#include "runtime/cuda/device.h"
#include "tests/harness/gpu.h"

namespace adjoint::mnist {
namespace {

constexpr int64_t kBatch = 128, kLastBatch = 96;

struct Training {
  MnistModel model{{.network = "cnn"}};
  Trainer trainer;

  Training(std::shared_ptr<Device> device, Precision precision)
      : trainer(model, std::move(device), {.batch = kBatch, .precision = precision}) {
    trainer.bind_training(make_digits(kBatch + kLastBatch, 28, 1));
    trainer.bind_test(make_digits(kBatch, 28, 2));
    trainer.prepare();
    trainer.initialize(7);
  }
  EpochResult step() {
    return trainer.run_epoch([](int64_t) { return false; });
  }
};

// The double's algorithms are all one: nothing to measure.
std::shared_ptr<Device> make_device(const adjoint::testing::GpuUnderTest& gpu) {
  return gpu.device({.autotune = false, .kernel_cache = adjoint::testing::kernel_cache()});
}

void expect_near(const State& found, const State& want, double tolerance) {
  for (const std::string& name : want.variable_names()) {
    const Tensor x = found.get(name), y = want.get(name);
    if (y.type().dtype != DType::f32) continue;
    const auto a = x.values<float>(), b = y.values<float>();
    double difference = 0;
    for (size_t i = 0; i < b.size(); ++i) {
      difference = std::max<double>(difference, std::abs(a[i] - b[i]) / (1 + std::abs(b[i])));
    }
    EXPECT_LE(difference, tolerance) << name;
  }
}

// Steps of 128 and 96 images, and one of 128 that the GPU replays.
TEST(ReferenceOnGpu, TrainsAsTheCpuDoes) {
  const adjoint::testing::GpuUnderTest under_test;
  Training cpu(cpu::device(2), Precision::f32), gpu(make_device(under_test), Precision::f32);
  for (const int64_t images : {kBatch, kLastBatch, kBatch}) {
    SCOPED_TRACE(images);
    const EpochResult want = cpu.step(), got = gpu.step();
    EXPECT_EQ(got.images, images);
    EXPECT_NEAR(got.train.loss, want.train.loss, 1e-4 * want.train.loss);
    expect_near(gpu.trainer.state(), cpu.trainer.state(), 1e-4);
  }
}

TEST(ReferenceOnGpu, AStepInBf16StaysNearTheCpus) {
  const adjoint::testing::GpuUnderTest under_test;
  Training exact(cpu::device(2), Precision::f32);
  Training cpu(cpu::device(2), Precision::bf16), gpu(make_device(under_test), Precision::bf16);
  const double f32 = exact.step().train.loss, want = cpu.step().train.loss;
  const double got = gpu.step().train.loss;
  EXPECT_NEAR(got, want, 1e-3 * want);
  EXPECT_GT(std::abs(got - f32), 1e-6);  // it does round
  expect_near(gpu.trainer.state(), cpu.trainer.state(), 1e-2);
}

}  // namespace
}  // namespace adjoint::mnist
