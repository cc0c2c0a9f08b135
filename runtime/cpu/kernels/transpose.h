// Small transposes in registers, for packing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "runtime/cpu/kernels/simd.h"

namespace adjoint::cpu {
namespace internal {

// Rows become columns: rows[j][i] -> rows[i][j].
template <typename T, size_t... kLane>
[[gnu::always_inline]] inline void transpose_square(Vec<T>* rows, std::index_sequence<kLane...>) {
  constexpr int kN = kLanes<T>;
  using Index = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  constexpr Vec<Index> kLow = {static_cast<Index>(kLane / 2 + kLane % 2 * kN)...};
  constexpr Vec<Index> kHigh = {static_cast<Index>(kN / 2 + kLane / 2 + kLane % 2 * kN)...};
  for (int round = 1; round < kN; round *= 2) {
    Vec<T> mixed[kN];
#pragma GCC unroll 16
    for (int i = 0; i < kN / 2; ++i) {
      mixed[2 * i] = __builtin_shuffle(rows[i], rows[i + kN / 2], kLow);
      mixed[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + kN / 2], kHigh);
    }
    std::copy_n(mixed, kN, rows);
  }
}

}  // namespace internal

// to[k * pitch + j] = from[j * stride + k]
template <typename T>
void transpose_into(const T* from, int64_t stride, int64_t columns, int64_t k, T* to,
                    int64_t pitch) {
  constexpr int kN = kLanes<T>;
  for (int64_t j = 0; j < columns; j += kN) {
    int64_t q = 0;
    if (columns - j >= kN) {
      for (; q + kN <= k; q += kN) {
        Vec<T> rows[kN];
        for (int i = 0; i < kN; ++i) rows[i] = load<Vec<T>>(from + (j + i) * stride + q);
        internal::transpose_square<T>(rows, std::make_index_sequence<kN>());
        for (int i = 0; i < kN; ++i) store(to + (q + i) * pitch + j, rows[i]);
      }
    }
    const int64_t last = std::min<int64_t>(j + kN, columns);
    for (; q < k; ++q) {
      for (int64_t i = j; i < last; ++i) to[q * pitch + i] = from[i * stride + q];
    }
  }
}

}  // namespace adjoint::cpu
