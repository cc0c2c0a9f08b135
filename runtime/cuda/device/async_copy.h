// Copies from global to shared memory that go on while their thread computes.
//
//   begin_copy(&shared[i], from, i < count);
//   ... something else ...
//   wait_for_copies();  // of this thread; other threads need a barrier besides
#pragma once

#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/pack.h"

namespace adjoint::cuda {

// 16 bytes; zeros, and nothing is read, unless they are `there`.
__device__ inline void begin_copy(Pack<float, 4>* to, const float* from, bool there) {
#ifdef ADJOINT_FAKE_CUDA
  *to = there ? load_pack<4>(from) : Pack<float, 4>{};
#else
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
               "r"(there ? 16 : 0)
               : "memory");
#endif
}

__device__ inline void wait_for_copies() {
#ifndef ADJOINT_FAKE_CUDA
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

}  // namespace adjoint::cuda
