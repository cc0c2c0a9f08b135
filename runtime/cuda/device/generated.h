// What generated kernels call: access to memory, conversions, places given by tensors, and
// single elements of the random ops.
#pragma once

#include "ops/philox.h"
#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/last_block.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/device/reduction.h"
#include "runtime/scalar/activation.h"
#include "runtime/scalar/arithmetic.h"
#include "runtime/scalar/trigonometric.h"

namespace adjoint::cuda {

template <typename T>
__device__ inline const T* elements(const void* base) {
  return static_cast<const T*>(base);
}
template <typename T>
__device__ inline T* elements(void* base) {
  return static_cast<T*>(base);
}
template <typename T>
__device__ inline Compute<T> load(const void* base, int64_t index) {
  return widen(elements<T>(base)[index]);
}
template <typename T, typename C>
__device__ inline void store(void* base, int64_t index, C value) {
  elements<T>(base)[index] = narrow<T>(value);
}

// A value as its element type would store it: fused ops give what separate ones do.
template <typename T, typename C>
__device__ inline Compute<T> rounded(C value) {
  return widen(narrow<T>(value));
}

// A value of the element type From as one of To, as the op `cast` defines it.
template <typename To, typename From>
__device__ inline Compute<To> convert(Compute<From> x) {
  using C = Compute<From>;
  constexpr bool kFromBool = C(2) == C(1);
  if constexpr (sizeof(To) == 2) {
    // Integers up to 2^53 are doubles.
    if constexpr (sizeof(C) < 4 || sizeof(From) == 2 || (sizeof(C) == 4 && scalar::kIsFloat<C>)) {
      return rounded<To>(static_cast<float>(x));
    } else {
      return rounded<To>(scalar::to_float_odd(static_cast<double>(x)));
    }
  } else if constexpr (To(2) == To(1)) {  // bool
    return x != C(0);
  } else if constexpr (scalar::kIsFloat<C> && !kFromBool && !scalar::kIsFloat<To>) {
    return scalar::to_integer<To>(x);
  } else {
    return static_cast<To>(x);
  }
}

// The index where it is in 0 .. limit - 1; otherwise 0, and the step has failed.
__device__ inline int64_t checked_index(int64_t index, int64_t limit, Status* status, int launch) {
  if (index >= 0 && index < limit) return index;
  report_failure(status, launch, index);
  return 0;
}

// The value; where it is infinite or not a number, the step has failed.
template <typename C>
__device__ inline C checked_finite(C value, Status* status, int launch) {
  if (!scalar::is_finite(value)) report_failure(status, launch, kNotFinite);
  return value;
}

// The nearest place where a window fits.
__device__ inline int64_t clamped_start(int64_t start, int64_t last) {
  return start < 0 ? 0 : start > last ? last : start;
}

// Element `index` of the random ops' tensors.
template <typename C>
__device__ inline C uniform_element(int64_t key, int64_t stream, int64_t index, C low, C high) {
  constexpr int kPerBlock = 16 / sizeof(C);
  C values[kPerBlock];
  philox::uniform_block(philox::block(static_cast<uint64_t>(key), static_cast<uint64_t>(stream),
                                      static_cast<uint64_t>(index / kPerBlock)),
                        low, high, values);
  return values[index % kPerBlock];
}
template <typename C>
__device__ inline C normal_element(int64_t key, int64_t stream, int64_t index, C mean, C stddev) {
  constexpr int kPerBlock = 16 / sizeof(C);
  C values[kPerBlock];
  philox::normal_block(philox::block(static_cast<uint64_t>(key), static_cast<uint64_t>(stream),
                                     static_cast<uint64_t>(index / kPerBlock)),
                       mean, stddev, values);
  return values[index % kPerBlock];
}
__device__ inline bool bernoulli_element(int64_t key, int64_t stream, int64_t index,
                                         uint64_t threshold) {
  const philox::Words words = philox::block(
      static_cast<uint64_t>(key), static_cast<uint64_t>(stream), static_cast<uint64_t>(index / 4));
  return philox::bernoulli(words.w[index % 4], threshold);
}

}  // namespace adjoint::cuda
