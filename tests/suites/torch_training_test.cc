// Ten training steps of the reference networks, made small, with every optimiser: losses and
// weights as PyTorch computes them (tests/fixtures).
#include "tests/harness/torch_training.h"

#include <gtest/gtest.h>

#include "runtime/cpu/device.h"

namespace adjoint::testing {
namespace {

class TorchTraining : public ::testing::TestWithParam<TrainingSetting> {
 protected:
  static void check(bool optimised) {
    const double tolerance = GetParam().dtype == DType::f32 ? 1e-4 : 1e-9;
    check_training(GetParam(), cpu::device(2), tolerance, optimised);
  }
};

TEST_P(TorchTraining, TenSteps) { check(false); }

TEST_P(TorchTraining, TenStepsOptimised) { check(true); }

INSTANTIATE_TEST_SUITE_P(Models, TorchTraining, ::testing::ValuesIn(training_settings()),
                         training_title);

}  // namespace
}  // namespace adjoint::testing
