// Ten training steps of the reference networks, made small, with every optimiser, beside what
// PyTorch computed (tests/fixtures/data/training.gz).
//
//   for (const TrainingSetting& setting : training_settings()) {
//     check_training(setting, cpu::device(2), 1e-4, false);
//   }
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/device.h"

namespace adjoint::testing {

// The fixture's model and run, in f32 or f64.
struct TrainingSetting {
  size_t model;
  size_t run;
  DType dtype;
};
std::vector<TrainingSetting> training_settings();
std::string training_title(const ::testing::TestParamInfo<TrainingSetting>& info);

// Trains as the fixture says; losses and variables must be within `tolerance`.
void check_training(const TrainingSetting& setting, const std::shared_ptr<Device>& device,
                    double tolerance, bool optimised);

}  // namespace adjoint::testing
