// Copies from global to shared memory that go on while their thread computes.
//
//   begin_copy(&shared[i], from, i < count);
//   end_copies();  // a group of them
//   ... something else ...
//   wait_for_copies<0>();  // of this thread; other threads need a barrier besides
#pragma once

#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/pack.h"

namespace adjoint::cuda {

// 16 bytes; zeros, and nothing is read, unless they are `there`.
template <typename T>
__device__ inline void begin_copy(Pack<T, kFullPack<T>>* to, const T* from, bool there) {
#ifdef ADJOINT_FAKE_CUDA
  *to = there ? load_pack<kFullPack<T>>(from) : Pack<T, kFullPack<T>>{};
#else
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
               "r"(there ? 16 : 0)
               : "memory");
#endif
}

__device__ inline void end_copies() {
#ifndef ADJOINT_FAKE_CUDA
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// For all groups but the last `kGroups`.
template <int kGroups>
__device__ inline void wait_for_copies() {
#ifndef ADJOINT_FAKE_CUDA
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
#endif
}

}  // namespace adjoint::cuda
