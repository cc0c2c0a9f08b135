// Vectors of the machine's width, by GCC's vector extensions; every type has its own width, and a
// half as wide sibling for what is left over.
//
//   Vec<float> sum = load<Vec<float>>(p) * 2.0f;   store(p, sum);
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) && defined(__AVX512VL__)
#define ADJOINT_MASKED_VECTORS
#include <immintrin.h>
#endif

namespace adjoint::cpu {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
inline constexpr int kVectorRegisters = 32;
#elif defined(__AVX__)
inline constexpr int kVectorBytes = 32;
inline constexpr int kVectorRegisters = 16;
#else
inline constexpr int kVectorBytes = 16;
inline constexpr int kVectorRegisters = 16;
#endif

namespace internal {
template <typename T, int kBytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(kBytes)));
  typedef T unaligned __attribute__((vector_size(kBytes), aligned(alignof(T)), may_alias));
};
}  // namespace internal

template <typename T>
inline constexpr int kLanes = kVectorBytes / sizeof(T);
template <typename T>
using Vec = typename internal::VectorOf<T, kVectorBytes>::type;
template <typename T>
using HalfVec = typename internal::VectorOf<T, kVectorBytes / 2>::type;

// Unaligned load and store of a whole vector V of T.
template <typename V, typename T>
[[gnu::always_inline]] inline V load(const T* from) {
  return *reinterpret_cast<const typename internal::VectorOf<T, sizeof(V)>::unaligned*>(from);
}
template <typename V, typename T>
[[gnu::always_inline]] inline void store(T* to, V value) {
  *reinterpret_cast<typename internal::VectorOf<T, sizeof(V)>::unaligned*>(to) = value;
}

// x in every lane, in a register: uses do not read it from memory again.
template <typename V, typename T>
[[gnu::always_inline]] inline V broadcast(T x) {
  V lanes = x - V{};
#ifdef ADJOINT_MASKED_VECTORS
  asm("" : "+v"(lanes));
#endif
  return lanes;
}

namespace internal {
#ifdef ADJOINT_MASKED_VECTORS
template <typename V, typename T>
inline constexpr bool kMasked = (sizeof(T) == 4 || sizeof(T) == 8) && sizeof(V) >= 32;
template <typename V, typename T>
[[gnu::always_inline]] inline V masked_load(const T* from, int count) {
  const unsigned mask = (1u << count) - 1;
  if constexpr (sizeof(V) == 64 && sizeof(T) == 4) return (V)_mm512_maskz_loadu_ps(mask, from);
  if constexpr (sizeof(V) == 64 && sizeof(T) == 8) return (V)_mm512_maskz_loadu_pd(mask, from);
  if constexpr (sizeof(V) == 32 && sizeof(T) == 4) return (V)_mm256_maskz_loadu_ps(mask, from);
  if constexpr (sizeof(V) == 32 && sizeof(T) == 8) return (V)_mm256_maskz_loadu_pd(mask, from);
}
template <typename V, typename T>
[[gnu::always_inline]] inline void masked_store(T* to, V value, int count) {
  const unsigned mask = (1u << count) - 1;
  if constexpr (sizeof(V) == 64 && sizeof(T) == 4) _mm512_mask_storeu_ps(to, mask, (__m512)value);
  if constexpr (sizeof(V) == 64 && sizeof(T) == 8) _mm512_mask_storeu_pd(to, mask, (__m512d)value);
  if constexpr (sizeof(V) == 32 && sizeof(T) == 4) _mm256_mask_storeu_ps(to, mask, (__m256)value);
  if constexpr (sizeof(V) == 32 && sizeof(T) == 8) _mm256_mask_storeu_pd(to, mask, (__m256d)value);
}
#else
template <typename V, typename T>
inline constexpr bool kMasked = false;
template <typename V, typename T>
V masked_load(const T*, int);
template <typename V, typename T>
void masked_store(T*, V, int);
#endif
}  // namespace internal

// The first `count` lanes, 0 < count <= lanes; the others are 0. Nothing beyond them is touched.
template <typename V, typename T>
[[gnu::always_inline]] inline V load_first(const T* from, int count) {
  if constexpr (internal::kMasked<V, T>) {
    return internal::masked_load<V>(from, count);
  } else {
    T lanes[sizeof(V) / sizeof(T)] = {};
    for (int i = 0; i < count; ++i) lanes[i] = from[i];
    return load<V>(lanes);
  }
}
template <typename V, typename T>
[[gnu::always_inline]] inline void store_first(T* to, V value, int count) {
  if constexpr (internal::kMasked<V, T>) {
    internal::masked_store(to, value, count);
  } else {
    T lanes[sizeof(V) / sizeof(T)];
    store(lanes, value);
    for (int i = 0; i < count; ++i) to[i] = lanes[i];
  }
}

}  // namespace adjoint::cpu
