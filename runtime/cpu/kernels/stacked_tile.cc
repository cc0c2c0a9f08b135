#include "runtime/cpu/kernels/stacked_tile.h"

#include <array>
#include <utility>

namespace adjoint::cpu {
namespace {

template <typename T, int kRows, int kStacks>
void stacked_tile(const StackedCall<T>& call) {
  using V = HalfVec<T>;
  V sum[kStacks][kRows] = {};
  for (const Run& run : call.runs) {
    const T* stacks[kStacks];
#pragma GCC unroll 8
    for (int s = 0; s < kStacks; ++s) stacks[s] = call.a + run.a + s * call.stack;
    const T* b = call.b + run.b;
    for (int64_t k = run.length; k > 0; --k, b += call.pitch) {
      const V factor = load_first<V>(b, call.columns);
#pragma GCC unroll 8
      for (int s = 0; s < kStacks; ++s) {
#pragma GCC unroll 28
        for (int r = 0; r < kRows; ++r) sum[s][r] += stacks[s][r] * factor;
        stacks[s] += call.step;
      }
    }
  }
#pragma GCC unroll 8
  for (int s = 0; s < kStacks; ++s) {
#pragma GCC unroll 28
    for (int r = 0; r < kRows; ++r) {
      T* c = call.c + s * call.c_stack + r * call.c_row;
      store_first(c, load_first<V>(c, call.columns) + sum[s][r], call.columns);
    }
  }
}

constexpr int kMaxRows = 14;  // of two stacks
template <typename T>
using Tiles = std::array<StackedTile<T>, kMaxRows>;

template <typename T, int kRows, int kStacks>
constexpr StackedTile<T> tile_or_null() {
  if constexpr (kStacks <= max_stacks(kRows)) return &stacked_tile<T, kRows, kStacks>;
  return nullptr;
}
template <typename T, int kStacks, size_t... kRows>
constexpr Tiles<T> tiles_of(std::index_sequence<kRows...>) {
  return {tile_or_null<T, kRows + 1, kStacks>()...};
}

}  // namespace

template <typename T>
StackedTile<T> stacked_tile_for(int rows, int stacks) {
  constexpr auto kAllRows = std::make_index_sequence<kMaxRows>();
  static constexpr std::array<Tiles<T>, kMaxStacks - 1> kTiles = {
      tiles_of<T, 2>(kAllRows), tiles_of<T, 3>(kAllRows), tiles_of<T, 4>(kAllRows),
      tiles_of<T, 5>(kAllRows)};
  return kTiles[stacks - 2][rows - 1];
}

template StackedTile<float> stacked_tile_for<float>(int, int);
template StackedTile<double> stacked_tile_for<double>(int, int);

}  // namespace adjoint::cpu
