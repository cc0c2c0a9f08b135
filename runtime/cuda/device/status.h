// What a step's kernels tell the host.
#pragma once

#include <cstdint>

namespace adjoint::cuda {

// Reported as the bad value where a float is infinite or not a number.
inline constexpr int64_t kNotFinite = -0x7fffffffffffffff - 1;

// The first failure of a step, on the device: kernels that find a bad value note it, and kernels
// that write the state do nothing once there is one. It stays until the host has read it.
struct Status {
  int32_t failed = 0;  // 1 + the launch
  int32_t reserved = 0;
  int64_t value = 0;  // the bad value
};

}  // namespace adjoint::cuda
