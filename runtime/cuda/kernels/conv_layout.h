// Copies around cuDNN's convolutions: images into a frame and back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "runtime/cuda/api/launch.h"

namespace adjoint::cuda {

// Images [batch,h,w,channels] into others: pixel (i,j) is moved to (i + shift, j + shift), cut off
// at the edges, with zeros where nothing arrives.
struct Placement {
  int64_t batch = 0;
  int64_t channels = 0;
  std::array<int64_t, 2> from = {};  // height, width
  std::array<int64_t, 2> to = {};
  std::array<int64_t, 2> shift = {};
};
void place(const void* from, void* to, const Placement& placement, size_t element_size,
           const LaunchStream& stream);

}  // namespace adjoint::cuda
