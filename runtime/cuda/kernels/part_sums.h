// Sums of what several blocks or warps have, each an array of floats.
//
//   store_pack(result + i, narrowed<Bf16>(sum_of(parts, count, size, i)));
#pragma once

#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/pack.h"

namespace adjoint::cuda {

// The sums of elements i to i + 3 of `count` arrays of `size`, in their order, with many loads on
// their way.
template <typename Array>
__device__ inline Pack<float, 4> sum_of(const Array& arrays, int count, int size, int i) {
  constexpr int kLoads = 16;
  Pack<float, 4> sum = {};
  for (int begin = 0; begin < count; begin += kLoads) {
    Pack<float, 4> parts[kLoads];
    for (int p = 0; p < kLoads; ++p) {
      const int part = begin + p;
      parts[p] = part < count ? load_pack<4>(&arrays[part * size + i]) : Pack<float, 4>{};
    }
    for (const Pack<float, 4>& part : parts) {
      for (int v = 0; v < 4; ++v) sum[v] += part[v];
    }
  }
  return sum;
}

template <typename T>
__device__ inline Pack<T, 4> narrowed(const Pack<float, 4>& values) {
  Pack<T, 4> result;
  for (int v = 0; v < 4; ++v) result[v] = narrow<T>(values[v]);
  return result;
}

}  // namespace adjoint::cuda
