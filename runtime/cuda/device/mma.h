// Products of small matrices by a warp's tensor cores, from sm_80 on:
// sums[i][j] += a[i] * b[j].
//
//   const uint32_t a[4][4] = ..., b[6][2] = ...;  // by mma_word
//   mma<Bf16>(sums, a, b);
//
// a[i] has 16 rows, b[j] 8 columns, each of 8 words of k: floats rounded to TF32 (k is 8), or pairs
// of neighbours of bf16 (k is 16). With g = lane / 4 and t = lane % 4, as the PTX ISA has it, a
// lane has
//   a[i][0], a[i][1]: word t of rows g and g + 8;  a[i][2], a[i][3]: their words t + 4
//   b[j][0], b[j][1]: words t and t + 4 of column g
//   sums[i][j][0], [1]: columns 2t and 2t + 1 of row g;  [2], [3]: of row g + 8
#pragma once

#include <cstdint>

#include "graph/float16.h"
#include "runtime/cuda/device/pack.h"

#ifdef ADJOINT_FAKE_CUDA
#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>
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

// The words of a[i] of 16 rows in shared memory, as they lie there: eight of each row. A lane
// passes where word lane / 16 * 4 of row lane % 16 is; from there on 16 bytes are read.
__device__ inline void load_mma_rows(const uint32_t* own, uint32_t (&words)[4]) {
#ifdef ADJOINT_FAKE_CUDA
  const uint32_t* of[warpSize];
  fake_cuda::gather(~0u, own, of);
  for (int w = 0; w < 4; ++w) {
    const uint32_t* const row = of[8 * w + fake_cuda::lane() / 4];
    std::memcpy(&words[w], row + fake_cuda::lane() % 4, sizeof words[w]);
  }
#else
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(own));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
#endif
}

#ifdef ADJOINT_FAKE_CUDA
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

template <int kRows, int kColumns>
struct MmaWords {
  uint32_t a[kRows][4], b[kColumns][2];
};

// One number of the lane's, from what all lanes have.
template <typename T, typename Words>
double dot_of_lanes(const Words (&of)[warpSize], int i, int j, int number) {
  const int row = fake_cuda::lane() / 4, column = fake_cuda::lane() % 4 * 2 + number % 2;
  double sum = 0;
  for (int word = 0; word < 8; ++word) {
    const int t = word % 4, half = word / 4;
    sum +=
        dot_words(T{}, of[row * 4 + t].a[i][2 * half + number / 2], of[column * 4 + t].b[j][half]);
  }
  return sum;
}

template <typename T, int kRows, int kColumns>
void mma(float (&sums)[kRows][kColumns][4], const uint32_t (&a)[kRows][4],
         const uint32_t (&b)[kColumns][2]) {
  MmaWords<kRows, kColumns> own, of[warpSize];
  std::copy_n(&a[0][0], 4 * kRows, &own.a[0][0]);
  std::copy_n(&b[0][0], 2 * kColumns, &own.b[0][0]);
  fake_cuda::gather(~0u, own, of);
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kColumns; ++j) {
      for (int number = 0; number < 4; ++number) {
        float& sum = sums[i][j][number];
        sum = static_cast<float>(sum + dot_of_lanes<T>(of, i, j, number));
      }
    }
  }
}
#else
template <typename T>
__device__ void mma_tile(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

template <>
__device__ inline void mma_tile<float>(float (&sums)[4], const uint32_t (&a)[4],
                                       const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
__device__ inline void mma_tile<Bf16>(float (&sums)[4], const uint32_t (&a)[4],
                                      const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <typename T, int kRows, int kColumns>
__device__ void mma(float (&sums)[kRows][kColumns][4], const uint32_t (&a)[kRows][4],
                    const uint32_t (&b)[kColumns][2]) {
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kColumns; ++j) mma_tile<T>(sums[i][j], a[i], b[j]);
  }
}
#endif

}  // namespace adjoint::cuda
