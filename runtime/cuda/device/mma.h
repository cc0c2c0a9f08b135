// Products of small matrices by a warp's tensor cores, from sm_80 on: sums += a * b.
//
//   const uint32_t a[4] = ..., b[2] = ...;  // by mma_word
//   mma<Bf16>(sums, a, b);
//
// a has 16 rows, b 8 columns, each of 8 words of k: floats rounded to TF32 (k is 8), or pairs of
// neighbours of bf16 (k is 16). With g = lane / 4 and t = lane % 4, as the PTX ISA has it, a lane
// has
//   a[0], a[1]: word t of rows g and g + 8;  a[2], a[3]: their words t + 4
//   b[0], b[1]: words t and t + 4 of column g
//   sums[0], sums[1]: columns 2t and 2t + 1 of row g;  sums[2], sums[3]: of row g + 8
#pragma once

#include <cstdint>

#include "graph/float16.h"
#include "runtime/cuda/device/pack.h"

#ifdef ADJOINT_FAKE_CUDA
#include <cuda_runtime.h>
#endif

namespace adjoint::cuda {

// To TF32's 10 bits, ties away from 0.
__device__ inline uint32_t mma_word(const Pack<float, 1>& value) {
#ifdef ADJOINT_FAKE_CUDA
  const uint32_t bits = __builtin_bit_cast(uint32_t, value[0]);
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return is_nan ? 0x7fffffffu : (bits + 0x1000u) & ~0x1fffu;
#else
  uint32_t word;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(value[0]));
  return word;
#endif
}
__device__ inline uint32_t mma_word(const Pack<Bf16, 2>& values) {
  return static_cast<uint32_t>(values[1].bits) << 16 | values[0].bits;
}

#ifdef ADJOINT_FAKE_CUDA
// Words t and t + 4 in one.
inline uint64_t words_of(uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; }

inline double dot_words(float, uint32_t a, uint32_t b) {
  constexpr uint32_t kKept = ~0x1fffu;
  return double{__builtin_bit_cast(float, a& kKept)} * __builtin_bit_cast(float, b& kKept);
}
inline double dot_words(Bf16, uint32_t a, uint32_t b) {
  auto half = [](uint32_t word, int shift) {
    return double{to_float(Bf16{static_cast<uint16_t>(word >> shift)})};
  };
  return half(a, 0) * half(b, 0) + half(a, 16) * half(b, 16);
}

// Of what the four lanes of a row have, and the four of a column.
template <typename T>
double dot_lanes(const uint64_t* row, const uint64_t* column) {
  double sum = 0;
  for (int i = 0; i < 4; ++i) {
    for (const int shift : {0, 32}) {
      sum += dot_words(T{}, static_cast<uint32_t>(row[i] >> shift),
                       static_cast<uint32_t>(column[i] >> shift));
    }
  }
  return sum;
}
#endif

template <typename T>
__device__ void mma(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

#ifdef ADJOINT_FAKE_CUDA
template <typename T>
void mma(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  uint64_t rows[2][warpSize], columns[warpSize];
  fake_cuda::gather(~0u, words_of(a[0], a[2]), rows[0]);
  fake_cuda::gather(~0u, words_of(a[1], a[3]), rows[1]);
  fake_cuda::gather(~0u, words_of(b[0], b[1]), columns);
  const int g = fake_cuda::lane() / 4, t = fake_cuda::lane() % 4;
  for (int i = 0; i < 4; ++i) {
    const int column = 2 * t + i % 2;
    sums[i] = static_cast<float>(sums[i] + dot_lanes<T>(rows[i / 2] + 4 * g, columns + 4 * column));
  }
}
#else
template <>
__device__ inline void mma<float>(float (&sums)[4], const uint32_t (&a)[4],
                                  const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
__device__ inline void mma<Bf16>(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

}  // namespace adjoint::cuda
