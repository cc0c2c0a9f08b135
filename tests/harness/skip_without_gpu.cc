// Linked into every test that is for a GPU: where there is none, all its cases are skipped. A GPU
// that cannot be used, because it or its driver is too old, is a failure.
#include <gtest/gtest.h>

#include "runtime/cuda/api/cuda.h"

namespace adjoint::testing {
namespace {

class SkipWithoutGpu : public ::testing::Environment {
 public:
  void SetUp() override {
    if (cuda::driver_version() == 0) GTEST_SKIP() << "no NVIDIA driver was found";
    if (cuda::device_count() == 0) GTEST_SKIP() << "no NVIDIA GPU was found";
  }
};

[[maybe_unused]] ::testing::Environment* const kEnvironment =
    ::testing::AddGlobalTestEnvironment(new SkipWithoutGpu);

}  // namespace
}  // namespace adjoint::testing
