// That tests for a GPU are skipped where there is none: this one fails unless there is one.
#include <gtest/gtest.h>

#include "runtime/cuda/device.h"

namespace adjoint::testing {
namespace {

TEST(SkipWithoutGpu, HasAGpu) { EXPECT_EQ(cuda::unavailable(), ""); }

}  // namespace
}  // namespace adjoint::testing
