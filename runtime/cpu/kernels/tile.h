// The inner loop of products and convolutions: a tile of C that stays in registers,
//
//   C[r][c] (+)= sum over runs, sum over k < run.length of
//                A[run.a + r * row + k * step] * B[run.b + k * pitch + c]
//
// for `rows` rows and a panel of columns. What A's offsets mean (pixels of an image, rows of a
// matrix) the caller decides; C is written once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/cpu/kernels/simd.h"

namespace adjoint::cpu {

// One stretch of the sum: offsets in elements.
struct Run {
  ptrdiff_t a = 0;
  ptrdiff_t b = 0;
  int64_t length = 0;
};

template <typename T>
struct TileCall {
  const T* a;
  ptrdiff_t row;   // A's distance from row to row
  ptrdiff_t step;  // A's distance from k to k + 1; this or the row is 1
  const T* b;
  ptrdiff_t pitch;  // B's distance from k to k + 1
  std::span<const Run> runs;
  T* c;
  ptrdiff_t c_row;  // C's distance from row to row
  int columns;      // of C that are written: they reach into the panel's last vector
  int b_columns;    // of B that may be read: a whole panel, or where the row is 1 no more than C's
  bool accumulate;  // add to C
};

// A panel is made of half vectors: an even number is whole vectors, an odd one has a half at its
// end.
template <typename T>
inline constexpr int kHalfLanes = kLanes<T> / 2;
inline constexpr int kMaxPanelHalves = 6;
template <typename T>
inline constexpr int kMaxPanel = kMaxPanelHalves* kHalfLanes<T>;

// As many rows as there are registers for their sums.
inline constexpr int kMaxTileRows = kVectorRegisters == 32 ? 24 : 12;
constexpr int max_tile_rows(int halves) { return kMaxTileRows / ((halves + 1) / 2); }
template <typename T>
int panel_halves(int64_t columns) {
  return static_cast<int>((columns + kHalfLanes<T> - 1) / kHalfLanes<T>);
}

template <typename T>
using Tile = void (*)(const TileCall<T>&);
// The tile for 1 <= rows <= max_tile_rows(halves) and 1 <= halves <= kMaxPanelHalves.
template <typename T>
Tile<T> tile_for(int rows, int halves);

}  // namespace adjoint::cpu
