// What device code shares: how a kernel begins, a block's shared memory, sums over a block, the
// step's status.
//
//   begin_kernel();
//   Shared<float> sums = shared_memory<float>(blockDim.x);
//   float total = block_reduce(x, sums, [](float a, float b) { return a + b; });
//
// For .cu files and generated kernels alike. All shared memory is dynamic, one array for a block.
#pragma once

#include <cstdint>

#include "runtime/cuda/device/status.h"

#ifdef ADJOINT_FAKE_CUDA
#include <cuda_runtime.h>  // the test double's: __syncthreads, threadIdx and the rest as C++
#endif

namespace adjoint::cuda {

// What every thread calls before it touches memory. A launch that overlaps the one before it
// (LaunchStream) waits here until that has ended and its writes are seen; its own successor may be
// brought onto the device from here on.
__device__ inline void begin_kernel() {
#ifdef ADJOINT_FAKE_CUDA
  fake_cuda::begin_thread();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// An array in shared memory. The test double checks every index.
template <typename T>
class Shared {
 public:
  __device__ Shared(T* data, int count) : data_(data), count_(count) {}
  __device__ T& operator[](int index) const {
#ifdef ADJOINT_FAKE_CUDA
    fake_cuda::check_shared_index(data_, index, count_, sizeof(T));
#endif
    return data_[index];
  }

 private:
  T* data_;
  int count_;
};

// `count` elements of the block's shared memory, from byte `offset` (a multiple of 16) on.
template <typename T>
__device__ inline Shared<T> shared_memory(int count, int offset = 0) {
#ifdef ADJOINT_FAKE_CUDA
  unsigned char* memory = fake_cuda::shared_memory();
#else
  extern __shared__ __align__(16) unsigned char memory[];
#endif
  return Shared<T>(reinterpret_cast<T*>(memory + offset), count);
}

// Combines the values of all threads of a block of one dimension (a power of two, up to 1024), in a
// fixed order; every thread gets the result. `scratch` holds an element for each thread; it may be
// used again after the call.
template <typename T, typename F>
__device__ inline T block_reduce(T value, Shared<T> scratch, F combine) {
  const int thread = static_cast<int>(threadIdx.x);
  scratch[thread] = value;
  __syncthreads();
  for (int half = static_cast<int>(blockDim.x) / 2; half > 0; half /= 2) {
    if (thread < half) scratch[thread] = combine(scratch[thread], scratch[thread + half]);
    __syncthreads();
  }
  const T result = scratch[0];
  __syncthreads();
  return result;
}

__device__ inline void report_failure(Status* status, int launch, int64_t value) {
  if (atomicCAS(&status->failed, 0, launch + 1) == 0) status->value = value;
}

// Whether a kernel that writes the state has to leave it alone. `guard` is null for others.
__device__ inline bool is_frozen(const Status* guard) {
  return guard != nullptr && *static_cast<const volatile int32_t*>(&guard->failed) != 0;
}

}  // namespace adjoint::cuda
