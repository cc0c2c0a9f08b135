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

// One column of A: rows `row` elements apart. Every fourth row has a pointer of its own, the others
// are reached from it by 1, 2 and 3 strides, which x86 can add up in an address; so twelve rows
// need five registers. (Left to itself the compiler takes twelve, and has none left for the loops.)
template <typename T, int kRows, bool kUnitRow>
struct Column {
  static constexpr int kPointers = kUnitRow ? 1 : (kRows + 3) / 4;

  Column(const T* a, ptrdiff_t row) : row(row), row3(3 * row) {
    for (int i = 0; i < kPointers; ++i) {
      pointers[i] = a + 4 * i * row;
      asm("" : "+r"(pointers[i]));  // hides where it came from
    }
  }
  [[gnu::always_inline]] T operator[](int r) const {
    if constexpr (kUnitRow) return pointers[0][r];
    const T* from = pointers[r / 4];
    return r % 4 == 3 ? from[row3] : from[r % 4 * row];
  }
  [[gnu::always_inline]] void advance(ptrdiff_t step) {
    for (const T*& pointer : pointers) pointer += step;
  }

  const T* pointers[kPointers];
  ptrdiff_t row;
  ptrdiff_t row3;
};

template <bool kPartial, bool kUnitRow, bool kUnitStep, typename T, int kRows, int kHalves>
[[gnu::always_inline]] inline void sum_runs(const TileCall<T>& call,
                                            Accumulators<T, kRows, kHalves>& sum) {
  constexpr int kWhole = kHalves / 2;
  const ptrdiff_t row = call.row, step = kUnitStep ? 1 : call.step, pitch = call.pitch;
  const T *const a = call.a, *const b = call.b;
  const int columns = call.b_columns;
  for (const Run *run = call.runs.data(), *end = run + call.runs.size(); run != end; ++run) {
    Column<T, kRows, kUnitRow> column(a + run->a, row);
    const T* from = b + run->b;
    for (int64_t k = run->length; k > 0; --k, column.advance(step), from += pitch) {
      Vec<T> whole[kWhole + 1];
      HalfVec<T> half;
      load_row<T, kHalves, kPartial>(from, columns, whole, half);
#pragma GCC unroll 24
      for (int r = 0; r < kRows; ++r) {
        const T x = column[r];
#pragma GCC unroll 8
        for (int j = 0; j < kWhole; ++j) sum.whole[r][j] += x * whole[j];
        if constexpr (kHalves % 2 == 1) sum.half[r] += x * half;
      }
    }
  }
}

template <bool kPartial, bool kAccumulate, typename T, int kRows, int kHalves>
[[gnu::always_inline]] inline void write(const TileCall<T>& call,
                                         Accumulators<T, kRows, kHalves>& sum) {
  constexpr int kWhole = kHalves / 2;
  constexpr bool kHalf = kHalves % 2 == 1;
  const int columns = call.columns;
  const int last = columns - (kHalves - 1) / 2 * kLanes<T>;  // columns of the last vector
  const ptrdiff_t c_row = call.c_row;
  T* c = call.c;
#pragma GCC unroll 24
  for (int r = 0; r < kRows; ++r, c += c_row) {
    asm("" : "+r"(c));  // or all pointers would be made at once, and spilled
    if constexpr (kAccumulate) {
      Vec<T> whole[kWhole + 1];
      HalfVec<T> half;
      load_row<T, kHalves, kPartial>(c, columns, whole, half);
      for (int j = 0; j < kWhole; ++j) sum.whole[r][j] += whole[j];
      if constexpr (kHalf) sum.half[r] += half;
    }
#pragma GCC unroll 8
    for (int j = 0; j < kWhole; ++j) {
      T* to = c + j * kLanes<T>;
      if (kPartial && !kHalf && j == kWhole - 1) {
        store_first(to, sum.whole[r][j], last);
      } else {
        store(to, sum.whole[r][j]);
      }
    }
    if constexpr (kHalf) {
      T* to = c + kWhole * kLanes<T>;
      kPartial ? store_first(to, sum.half[r], last) : store(to, sum.half[r]);
    }
  }
}

template <typename T, int kRows, int kHalves>
void tile(const TileCall<T>& call) {
  constexpr int kColumns = kHalves * kHalfLanes<T>;
  Accumulators<T, kRows, kHalves> sum;
  if (call.b_columns < kColumns) {
    sum_runs<true, true, false>(call, sum);
  } else if (call.step == 1) {
    sum_runs<false, false, true>(call, sum);
  } else {
    sum_runs<false, true, false>(call, sum);
  }
  if (call.columns < kColumns) {
    call.accumulate ? write<true, true>(call, sum) : write<true, false>(call, sum);
  } else {
    call.accumulate ? write<false, true>(call, sum) : write<false, false>(call, sum);
  }
}

template <typename T, int kHalves, size_t... kRows>
constexpr std::array<Tile<T>, kMaxTileRows> tiles_of(std::index_sequence<kRows...>) {
  return {&tile<T, kRows + 1, kHalves>...};
}

template <typename T, size_t... kHalves>
constexpr std::array<std::array<Tile<T>, kMaxTileRows>, kMaxPanelHalves> all_tiles(
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
