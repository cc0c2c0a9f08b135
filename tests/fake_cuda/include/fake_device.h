// Device code as C++: what kernels use of CUDA's language. See fake_cuda.h.
//
//   __global__ void add(const float* x, float* y, int count) {
//     const int i = blockIdx.x * blockDim.x + threadIdx.x;
//     if (i < count) y[i] += x[i];
//   }
//
// There is no __shared__: shared memory is dynamic (fake_cuda::shared_memory).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

struct __align__(8) float2 {
  float x, y;
};
struct __align__(16) float4 {
  float x, y, z, w;
};
struct __align__(16) double2 {
  double x, y;
};
struct __align__(8) int2 {
  int x, y;
};
struct __align__(16) int4 {
  int x, y, z, w;
};
struct __align__(8) uint2 {
  unsigned x, y;
};
struct __align__(16) uint4 {
  unsigned x, y, z, w;
};

inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Of the thread that runs.
extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
inline constexpr int warpSize = 32;

namespace fake_cuda {

// Waits for the launch before this one (griddepcontrol.wait), which here has always ended.
void begin_thread();
unsigned char* shared_memory();  // of the running block
void check_shared_index(const void* data, int index, int count, size_t element_size);
// Waits until the lanes in `mask` have come here; the value that the lane `source` (of the warp)
// brought, or all ones where it brought none.
uint64_t exchange(unsigned mask, uint64_t value, int source);
// Waits in the same way; `values` are the `bytes` that every lane of the warp brought. All in
// `mask` have to.
void gather_bytes(unsigned mask, const void* value, size_t bytes, void* values);
// Waits in the same way; the lanes of `mask` whose predicate holds.
unsigned ballot(unsigned mask, bool predicate);
int lane();  // of the running thread in its warp

template <typename T>
T shuffle(unsigned mask, T value, int source) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange(mask, bits, source);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

template <typename T>
void gather(unsigned mask, const T& value, T (&values)[warpSize]) {
  static_assert(std::is_trivially_copyable_v<T>);
  gather_bytes(mask, &value, sizeof(T), values);
}

// Threads run one at a time, so that atomic operations are plain ones.
template <typename T, typename F>
T update(T* address, F compute) {
  const T old = *address;
  *address = compute(old);
  return old;
}

}  // namespace fake_cuda

void __syncthreads();
inline void __syncwarp(unsigned mask = 0xffffffffu) { fake_cuda::ballot(mask, true); }
inline void __threadfence() {}
inline void __threadfence_block() {}

// `width` lanes, a power of two, are a group of their own; a source outside it is the lane itself.
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize) {
  const int first = fake_cuda::lane() / width * width;
  return fake_cuda::shuffle(mask, value, first + (source & (width - 1)));
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize) {
  const int lane = fake_cuda::lane();
  const bool inside = lane % width + static_cast<int>(delta) < width;
  return fake_cuda::shuffle(mask, value, inside ? lane + static_cast<int>(delta) : lane);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize) {
  const int lane = fake_cuda::lane();
  const bool inside = lane % width >= static_cast<int>(delta);
  return fake_cuda::shuffle(mask, value, inside ? lane - static_cast<int>(delta) : lane);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize) {
  const int lane = fake_cuda::lane();
  // A group may read from the groups before it, as on a GPU.
  const int source = lane ^ bits;
  return fake_cuda::shuffle(mask, value, source < (lane / width + 1) * width ? source : lane);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return fake_cuda::ballot(mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) {
  return fake_cuda::ballot(mask, predicate != 0) != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return fake_cuda::ballot(mask, predicate == 0) == 0;
}

#define FAKE_CUDA_ATOMIC(NAME, TYPE, RESULT)                                     \
  inline TYPE NAME(TYPE* address, TYPE value) {                                  \
    return fake_cuda::update(address, [&](TYPE old) -> TYPE { return RESULT; }); \
  }
#define FAKE_CUDA_ATOMIC_COMPARE(TYPE)                                                          \
  FAKE_CUDA_ATOMIC(atomicMax, TYPE, old < value ? value : old)                                  \
  FAKE_CUDA_ATOMIC(atomicMin, TYPE, value < old ? value : old)                                  \
  FAKE_CUDA_ATOMIC(atomicExch, TYPE, (static_cast<void>(old), value))                           \
  inline TYPE atomicCAS(TYPE* address, TYPE expected, TYPE value) {                             \
    return fake_cuda::update(address, [&](TYPE old) { return old == expected ? value : old; }); \
  }
FAKE_CUDA_ATOMIC(atomicAdd, int, static_cast<int>(static_cast<unsigned>(old) + value))
FAKE_CUDA_ATOMIC(atomicAdd, unsigned, old + value)
FAKE_CUDA_ATOMIC(atomicAdd, unsigned long long, old + value)
FAKE_CUDA_ATOMIC(atomicAdd, float, old + value)
FAKE_CUDA_ATOMIC(atomicAdd, double, old + value)
FAKE_CUDA_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
FAKE_CUDA_ATOMIC_COMPARE(int)
FAKE_CUDA_ATOMIC_COMPARE(unsigned)
FAKE_CUDA_ATOMIC_COMPARE(unsigned long long)
#undef FAKE_CUDA_ATOMIC
#undef FAKE_CUDA_ATOMIC_COMPARE

template <typename T>
T __ldg(const T* address) {
  return *address;
}
inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __clz(int bits) { return std::countl_zero(static_cast<unsigned>(bits)); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
using std::max;
using std::min;
