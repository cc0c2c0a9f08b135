// The GPU that a suite runs on: the test double, or a real one.
//
//   GpuUnderTest gpu;                               // in a fixture
//   std::shared_ptr<Device> device = gpu.device();
//
// At its end the double's findings are failures. Tests for a real GPU are skipped where there is
// none (skip_without_gpu.cc).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <numeric>
#include <string>

#include "runtime/cuda/device.h"
#include "runtime/plan.h"

#ifdef ADJOINT_FAKE_CUDA
#include "tests/fake_cuda/fake_cuda.h"
#endif

namespace adjoint::testing {

#ifdef ADJOINT_FAKE_CUDA

class GpuUnderTest {
 public:
  explicit GpuUnderTest(const fake_cuda::Settings& settings = {}) { fake_cuda::reset(settings); }
  ~GpuUnderTest() {
    for (const std::string& finding : fake_cuda::findings()) ADD_FAILURE() << finding;
  }
  std::shared_ptr<Device> device(cuda::DeviceOptions options = {}) const {
    if (!options.kernel_cache) options.kernel_cache = "";
    return cuda::device(options);
  }
};

// Kernels and library calls that have run.
inline int64_t gpu_launches() {
  const auto launches = fake_cuda::launches();
  return std::accumulate(launches.begin(), launches.end(), int64_t{0},
                         [](int64_t sum, const auto& entry) { return sum + entry.second; });
}

#else

class GpuUnderTest {
 public:
  std::shared_ptr<Device> device(const cuda::DeviceOptions& options = {}) const {
    return cuda::device(options);
  }
};

// A GPU does not say: assume that all ran.
inline int64_t gpu_launches() {
  static int64_t count = 0;
  return count += 1 << 20;
}

#endif

// For tests that compile the same kernels several times.
inline std::filesystem::path kernel_cache() { return ::testing::TempDir() + "kernels"; }

// What a tensor of the device holds.
inline Tensor on_host(Device& device, const Tensor& tensor) {
  const Tensor host = Tensor::uninitialized(tensor.type());
  device.copy(tensor, host);
  return host;
}

// How many launches of the plan have something to write: so many must run in a step.
inline int64_t launches_with_work(const Plan& plan) {
  return std::count_if(plan.launches.begin(), plan.launches.end(), [&](const Launch& launch) {
    return std::any_of(launch.outputs.begin(), launch.outputs.end(),
                       [&](int32_t output) { return plan.buffers[output].bytes > 0; });
  });
}

}  // namespace adjoint::testing
