#include "runtime/cpu/kernels/sliding_tile.h"

#include <array>
#include <utility>

namespace adjoint::cpu {
namespace {

template <typename T, int kRows, int kImages, int kTaps>
void sliding_tile(const SlidingCall<T>& call) {
  using V = HalfVec<T>;
  V sum[kImages][kRows] = {};
  for (const Run& run : call.runs) {
    const T *a = call.a + run.a, *b = call.b + run.b;
    for (int64_t channel = call.row; channel > 0; --channel, ++a, b += call.pitch) {
      V filter[kTaps];
#pragma GCC unroll 8
      for (int tap = 0; tap < kTaps; ++tap) {
        filter[tap] = load<V>(b + tap * call.row * call.pitch);
      }
#pragma GCC unroll 24
      for (int image = 0; image < kImages; ++image) {
        const T* pixel = a + image * call.image;
#pragma GCC unroll 32
        for (int i = 0; i < kRows + kTaps - 1; ++i, pixel += call.row) {
          asm("" : "+r"(pixel));  // or all pointers would be made at once, and spilled
          const V x = broadcast<V>(*pixel);
#pragma GCC unroll 8
          for (int tap = 0; tap < kTaps; ++tap) {
            if (tap <= i && i - tap < kRows) sum[image][i - tap] += x * filter[tap];
          }
        }
      }
    }
  }
#pragma GCC unroll 24
  for (int image = 0; image < kImages; ++image) {
    T* c = call.c + image * call.c_image;
#pragma GCC unroll 24
    for (int r = 0; r < kRows; ++r) store_first(c + r * call.c_row, sum[image][r], call.columns);
  }
}

template <typename T>
using Tiles = std::array<SlidingTile<T>, kMaxTileRows>;

template <typename T, bool kOneImage, int kTaps, size_t... kRows>
constexpr Tiles<T> tiles_of(std::index_sequence<kRows...>) {
  return {&sliding_tile < T, kRows + 1, kOneImage ? 1 : max_sliding_images(kRows + 1), kTaps > ...};
}

template <typename T, int kTaps>
SlidingTile<T> tile_of(int rows, bool one_image) {
  constexpr auto kAllRows = std::make_index_sequence<kMaxTileRows>();
  static constexpr Tiles<T> kOne = tiles_of<T, true, kTaps>(kAllRows);
  static constexpr Tiles<T> kSeveral = tiles_of<T, false, kTaps>(kAllRows);
  return (one_image ? kOne : kSeveral)[rows - 1];
}

}  // namespace

template <typename T>
SlidingTile<T> sliding_tile_for(int rows, bool one_image, int64_t taps) {
  if (kVectorRegisters < 32) return nullptr;  // too few for the sums and the filter
  switch (taps) {
    case 3:
      return tile_of<T, 3>(rows, one_image);
    case 5:
      return tile_of<T, 5>(rows, one_image);
    default:
      return nullptr;
  }
}

template SlidingTile<float> sliding_tile_for<float>(int, bool, int64_t);
template SlidingTile<double> sliding_tile_for<double>(int, bool, int64_t);

}  // namespace adjoint::cpu
