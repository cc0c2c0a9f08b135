#include "runtime/cpu/kernels/tile.h"

#include <array>
#include <utility>

namespace adjoint::cpu {
namespace {

// `V` whole vectors and maybe a half; the last one may be partial.
template <typename T, int kRows, int kHalves>
struct Accumulators {
  static constexpr int kWhole = kHalves / 2;
  static constexpr bool kHalf = kHalves % 2 == 1;

  Vec<T> whole[kRows][kWhole + 1] = {};
  HalfVec<T> half[kRows] = {};
};

// B's row at `b`, `columns` of it.
template <typename T, int kHalves, bool kPartial, typename Rows>
[[gnu::always_inline]] inline void load_row(const T* b, int columns, Rows& whole,
                                            HalfVec<T>& half) {
  constexpr int kWhole = kHalves / 2;
  constexpr bool kHalf = kHalves % 2 == 1;
#pragma GCC unroll 8
  for (int j = 0; j < kWhole; ++j) {
    const bool last = kPartial && !kHalf && j == kWhole - 1;
    whole[j] = last ? load_first<Vec<T>>(b + j * kLanes<T>, columns - j * kLanes<T>)
                    : load<Vec<T>>(b + j * kLanes<T>);
  }
  if constexpr (kHalf) {
    const T* from = b + kWhole * kLanes<T>;
    half = kPartial ? load_first<HalfVec<T>>(from, columns - kWhole * kLanes<T>)
                    : load<HalfVec<T>>(from);
  }
}

template <typename T, int kRows, int kHalves, bool kPartial>
[[gnu::always_inline]] inline void sum_runs(const TileCall<T>& call, ptrdiff_t row, ptrdiff_t step,
                                            Accumulators<T, kRows, kHalves>& sum) {
  constexpr int kWhole = kHalves / 2;
  for (const Run& run : call.runs) {
    const T* a = call.a + run.a;
    const T* b = call.b + run.b;
    for (int64_t k = 0; k < run.length; ++k, a += step, b += call.pitch) {
      Vec<T> whole[kWhole + 1];
      HalfVec<T> half;
      load_row<T, kHalves, kPartial>(b, call.b_columns, whole, half);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const T x = a[r * row];
#pragma GCC unroll 8
        for (int j = 0; j < kWhole; ++j) sum.whole[r][j] += x * whole[j];
        if constexpr (kHalves % 2 == 1) sum.half[r] += x * half;
      }
    }
  }
}

template <typename T, int kRows, int kHalves>
[[gnu::always_inline]] inline void write(const TileCall<T>& call,
                                         Accumulators<T, kRows, kHalves>& sum) {
  constexpr int kWhole = kHalves / 2;
  constexpr bool kHalf = kHalves % 2 == 1;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    T* c = call.c + r * call.c_row;
    int left = call.columns;
#pragma GCC unroll 8
    for (int j = 0; j < kWhole; ++j, c += kLanes<T>, left -= kLanes<T>) {
      if (left >= kLanes<T>) {
        if (call.accumulate) sum.whole[r][j] += load<Vec<T>>(c);
        store(c, sum.whole[r][j]);
      } else {
        if (call.accumulate) sum.whole[r][j] += load_first<Vec<T>>(c, left);
        store_first(c, sum.whole[r][j], left);
      }
    }
    if constexpr (kHalf) {
      if (call.accumulate) sum.half[r] += load_first<HalfVec<T>>(c, left);
      store_first(c, sum.half[r], left);
    }
  }
}

template <typename T, int kRows, int kHalves>
void tile(const TileCall<T>& call) {
  Accumulators<T, kRows, kHalves> sum;
  if (call.b_columns < kHalves * kHalfLanes<T>) {
    sum_runs<T, kRows, kHalves, true>(call, call.row, call.step, sum);
  } else if (call.step == 1) {
    sum_runs<T, kRows, kHalves, false>(call, call.row, 1, sum);
  } else if (call.row == 1) {
    sum_runs<T, kRows, kHalves, false>(call, 1, call.step, sum);
  } else {
    sum_runs<T, kRows, kHalves, false>(call, call.row, call.step, sum);
  }
  write<T, kRows, kHalves>(call, sum);
}

template <typename T, int kHalves, size_t... kRows>
constexpr std::array<Tile<T>, 12> tiles_of(std::index_sequence<kRows...>) {
  return {&tile<T, kRows + 1, kHalves>...};
}

template <typename T, size_t... kHalves>
constexpr std::array<std::array<Tile<T>, 12>, kMaxPanelHalves> all_tiles(
    std::index_sequence<kHalves...>) {
  return {tiles_of<T, kHalves + 1>(std::make_index_sequence<max_tile_rows(kHalves + 1)>())...};
}

}  // namespace

template <typename T>
Tile<T> tile_for(int rows, int halves) {
  static constexpr auto kTiles = all_tiles<T>(std::make_index_sequence<kMaxPanelHalves>());
  return kTiles[halves - 1][rows - 1];
}

template Tile<float> tile_for<float>(int, int);
template Tile<double> tile_for<double>(int, int);

}  // namespace adjoint::cpu
