// What the kernels with one thread for each result share: the type of their sums, their grids.
#pragma once

#include <cstdint>

#include "graph/dtype.h"
#include "graph/error.h"
#include "runtime/cuda/api/launch.h"
#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/element.h"

namespace adjoint::cuda {

constexpr int kDirectThreads = 256;

// One thread for each of `count` results; there must be some.
inline LaunchShape one_thread_each(int64_t count) {
  return {.grid = dim3(static_cast<unsigned>((count + kDirectThreads - 1) / kDirectThreads)),
          .block = dim3(kDirectThreads)};
}

#if defined(__CUDACC__) || defined(ADJOINT_FAKE_CUDA)
__device__ inline int64_t thread_number() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }

// The product of two elements, in the type of the sum.
template <typename Sum, typename T>
__device__ inline Sum product(T a, T b) {
  return static_cast<Sum>(widen(a)) * static_cast<Sum>(widen(b));
}
template <typename T, typename Sum>
__device__ inline T rounded(Sum sum) {
  return narrow<T>(static_cast<Compute<T>>(sum));
}
#endif

// Calls body.operator()<T, Sum>() for elements of a type and what they are added up in.
template <typename Body>
auto visit_sum(DType dtype, DType accumulate, Body body) {
  const bool is_wide = accumulate == DType::f64;
  switch (dtype) {
    case DType::f64:
      return body.template operator()<double, double>();
    case DType::f32:
      return is_wide ? body.template operator()<float, double>()
                     : body.template operator()<float, float>();
    case DType::bf16:
      return is_wide ? body.template operator()<Bf16, double>()
                     : body.template operator()<Bf16, float>();
    case DType::f16:
      return is_wide ? body.template operator()<F16, double>()
                     : body.template operator()<F16, float>();
    default:
      throw PlanError("sums of products are for floats");
  }
}

}  // namespace adjoint::cuda
