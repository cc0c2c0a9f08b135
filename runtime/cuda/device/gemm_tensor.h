// Products for GemmTile on tensor cores: in TF32 of floats, or in bf16.
#pragma once

#include "runtime/cuda/device/gemm_tile.h"
#include "runtime/cuda/device/mma.h"

namespace adjoint::cuda {

// One side of a tile. Fragments are read in words of 32 bits, all lanes' in different banks:
// k_inner, the lanes' are neighbours; k_outer, four rows of k are in different quarters.
template <typename T, int kSize_, Order kOrder>
struct TensorSide {
  static constexpr int kSize = kSize_;
  static constexpr bool kInner = kOrder == Order::k_inner;
  static constexpr int kWord = 4 / static_cast<int>(sizeof(T));
  static_assert(kInner ? kSize % 8 == 0 : kSize % 16 == 8);
  // k_inner: two planes of a pack for each row, apart so that writes of both meet no bank twice.
  static constexpr int kPlane = kSize + 4;
  static constexpr int kPacks = kInner ? 2 * kPlane : kGemmStep<T> * kSize / kFullPack<T>;

  __device__ static int place_of_slot(int slot) { return slot; }

  // Of row or column `at` of the tile, the word of k of the lane, from byte `offset` on.
  __device__ static uint32_t word(int offset, int at, int half) {
    const int number = threadIdx.x % 4;
    if constexpr (kInner) {
      using Word = Pack<T, kWord>;
      return mma_word(shared_memory<Word>(4 * kPacks, offset)[4 * (half * kPlane + at) + number]);
    } else {
      const Shared<T> elements = shared_memory<T>(kGemmStep<T> * kSize, offset);
      const int k = kWord * (4 * half + number);
      Pack<T, kWord> word;
      for (int i = 0; i < kWord; ++i) word[i] = elements[(k + i) * kSize + at];
      return mma_word(word);
    }
  }
};

// What a warp computes, from elements of T, in f32.
template <typename T, typename Rows_, typename Columns_>
struct TensorProduct {
  using Element = T;
  using Rows = Rows_;
  using Columns = Columns_;
  static constexpr int kRowTiles = Rows::kSize / 16, kColumnTiles = Columns::kSize / 8;
  using Sums = float[kRowTiles][kColumnTiles][4];
  static constexpr int kVector = 2, kVectors = kRowTiles * kColumnTiles * 2;
  using Vector = Pack<float, kVector>;

  __device__ static void multiply(int rows, int columns, Sums& sums) {
    const int lane_row = threadIdx.x % 32 / 4;
    uint32_t b[kColumnTiles][2];
    for (int j = 0; j < kColumnTiles; ++j) {
      for (int half = 0; half < 2; ++half) {
        b[j][half] = Columns::word(columns, 8 * j + lane_row, half);
      }
    }
    uint32_t a[kRowTiles][4];
    for (int i = 0; i < kRowTiles; ++i) {
      for (int w = 0; w < 4; ++w) {
        a[i][w] = Rows::word(rows, 16 * i + w % 2 * 8 + lane_row, w / 2);
      }
    }
    mma<T>(sums, a, b);
  }

  __device__ static Vector vector(const Sums& sums, int v) {
    const float(&tile)[4] = sums[v / 2 / kColumnTiles][v / 2 % kColumnTiles];
    return {{tile[v % 2 * 2], tile[v % 2 * 2 + 1]}};
  }
  __device__ static int row(int v) {
    return v / 2 / kColumnTiles * 16 + v % 2 * 8 + static_cast<int>(threadIdx.x % 32 / 4);
  }
  __device__ static int column(int v) {
    return v / 2 % kColumnTiles * 8 + static_cast<int>(threadIdx.x % 4) * 2;
  }
};

}  // namespace adjoint::cuda
