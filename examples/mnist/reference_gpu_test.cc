// The reference network in its full size on the GPU runtime, beside the CPU's: a few steps of its
// recipe, on the test double or on a GPU. It takes the double half a minute,
// so this is run by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <vector>

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
std::shared_ptr<Device> make_device(const adjoint::testing::GpuUnderTest& gpu, bool tf32 = false) {
  return gpu.device(
      {.autotune = false, .tf32 = tf32, .kernel_cache = adjoint::testing::kernel_cache()});
}

// The largest difference of two values, over 1 and the second.
double difference(const Tensor& found, const Tensor& want) {
  const auto a = found.values<float>(), b = want.values<float>();
  double largest = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    largest = std::max<double>(largest, std::abs(a[i] - b[i]) / (1 + std::abs(b[i])));
  }
  return largest;
}

std::vector<std::string> floats_of(const State& state) {
  std::vector<std::string> names = state.variable_names();
  std::erase_if(names, [&](const std::string& name) {
    return state.variable_type(name).dtype != DType::f32;
  });
  return names;
}

// How many channels, the last dimension, have values that differ by more than `tolerance`.
int64_t channels_apart(const Tensor& found, const Tensor& want, float tolerance) {
  const auto a = found.values<float>(), b = want.values<float>();
  const size_t channels = static_cast<size_t>(want.type().dims.back());
  std::set<size_t> apart;
  for (size_t i = 0; i < b.size(); ++i) {
    if (!(std::abs(a[i] - b[i]) <= tolerance)) apart.insert(i % channels);
  }
  return static_cast<int64_t>(apart.size());
}

// Of a pool's windows, of which a step has half a million, the two largest may be so near that
// rounding chooses: then the window's gradient goes to a neighbour, once in a step or two. That
// moves the filter of one channel of the second layer, and all that is in front of it, a little;
// what is behind stays as it was.
void expect_the_same_step(const State& found, const State& want) {
  const std::set<std::string> in_front = {"conv1/filter", "norm1/scale", "norm1/offset",
                                          "conv2/filter"};
  for (const std::string& name : floats_of(want)) {
    EXPECT_LE(difference(found.get(name), want.get(name)), in_front.contains(name) ? 2e-3 : 1e-6)
        << name;
  }
  EXPECT_LE(channels_apart(found.get("conv2/filter"), want.get("conv2/filter"), 1e-6f), 4);
}

// Steps of 128 and 96 images, and one of 128 that the GPU replays, each from the CPU's state.
TEST(ReferenceOnGpu, TrainsAsTheCpuDoes) {
  const adjoint::testing::GpuUnderTest under_test;
  Training cpu(cpu::device(2), Precision::f32), gpu(make_device(under_test), Precision::f32);
  for (const int64_t images : {kBatch, kLastBatch, kBatch}) {
    SCOPED_TRACE(images);
    for (const std::string& name : cpu.trainer.state().variable_names()) {
      gpu.trainer.state().set(name, cpu.trainer.state().get(name));
    }
    const EpochResult want = cpu.step(), got = gpu.step();
    EXPECT_EQ(got.images, images);
    EXPECT_NEAR(got.train.loss, want.train.loss, 1e-6 * want.train.loss);
    expect_the_same_step(gpu.trainer.state(), cpu.trainer.state());
  }
}

void expect_near(const State& found, const State& want, double tolerance) {
  for (const std::string& name : floats_of(want)) {
    EXPECT_LE(difference(found.get(name), want.get(name)), tolerance) << name;
  }
}

// The CPU does not round to TF32.
TEST(ReferenceOnGpu, AStepInTf32StaysNearTheCpus) {
  const adjoint::testing::GpuUnderTest under_test;
  Training cpu(cpu::device(2), Precision::f32);
  Training gpu(make_device(under_test, true), Precision::tf32);
  const double want = cpu.step().train.loss, got = gpu.step().train.loss;
  EXPECT_NEAR(got, want, 1e-3 * want);
  EXPECT_GT(std::abs(got - want), 1e-6);  // the GPU does
  expect_near(gpu.trainer.state(), cpu.trainer.state(), 1e-2);
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
