// Threads that work on one row together: some lanes of a warp, or a whole block.
//
//   const RowGroup group(lanes);           // lanes = row_lanes(columns, 1, rows)
//   for (int64_t i = group.lane; i < columns; i += group.size) sum += x[i];
//   sum = group.reduce(sum, Add());        // every thread of the group gets it
//
// Launch with row_shape(lanes, rows). Every thread of the block calls every reduce, also those
// whose row is past the end: they bring what changes nothing.
#pragma once

#include <bit>
#include <cstdint>

#include "runtime/cuda/api/launch.h"
#include "runtime/cuda/device/block.h"

namespace adjoint::cuda {

inline constexpr int kRowThreads = 256;  // of a block
inline constexpr int kWarp = 32;

// How many threads a row of `size` elements gets, `stride` elements apart: a power of two up to a
// warp, or kRowThreads. One each where neighbouring rows are neighbours in memory and rows abound.
inline int row_lanes(int64_t size, int64_t stride, int64_t rows) {
  constexpr int64_t kLongRow = 1024, kManyRows = 1 << 14;
  if (stride >= kWarp && (rows >= kManyRows || size <= kWarp)) return 1;
  if (size > kLongRow) return kRowThreads;
  return size >= kWarp ? kWarp : static_cast<int>(std::bit_ceil(static_cast<uint64_t>(size)));
}

inline LaunchShape row_shape(int lanes, int64_t rows) {
  const int64_t rows_each = kRowThreads / lanes;
  return {.grid = dim3(static_cast<unsigned>((rows + rows_each - 1) / rows_each)),
          .block = dim3(kRowThreads),
          .shared_bytes = lanes > kWarp ? kRowThreads * sizeof(double) : 0};
}

#if defined(__CUDACC__) || defined(ADJOINT_FAKE_CUDA)

struct Add {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Larger {  // a NaN is left out
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return b > a ? b : a;
  }
};

struct RowGroup {
  int size;
  int lane;
  int64_t row;

  __device__ explicit RowGroup(int lanes)
      : size(lanes),
        lane(static_cast<int>(threadIdx.x) % lanes),
        row(static_cast<int64_t>(blockIdx.x) * (kRowThreads / lanes) +
            static_cast<int>(threadIdx.x) / lanes) {}

  // In a fixed order; for numbers.
  template <typename T, typename F>
  __device__ T reduce(T value, F combine) const {
    if (size > kWarp) return block_reduce(value, shared_memory<T>(kRowThreads), combine);
    for (int step = size / 2; step > 0; step /= 2) {
      value = combine(value, __shfl_xor_sync(0xffffffffu, value, step));
    }
    return value;
  }
};

#endif

}  // namespace adjoint::cuda
