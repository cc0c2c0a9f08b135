// Tiles (tile.h) of neighbouring pixels and few channels, at most half a vector of them.
//
// There a tile that reads each of A's elements for each product would wait for its reads. But what
// a pixel meets under one tap its neighbour meets under the tap before: this one reads an element
// once for all taps of a filter's row.
#pragma once

#include "runtime/cpu/kernels/tile.h"

namespace adjoint::cpu {

template <typename T>
struct SlidingCall : TileCall<T> {
  ptrdiff_t image;    // A's distance from image to image
  ptrdiff_t c_image;  // C's
};
template <typename T>
using SlidingTile = void (*)(const SlidingCall<T>&);

// As many images as there are registers for.
constexpr int max_sliding_images(int rows) { return kMaxTileRows / rows; }

// The tile for some rows of one image, or of max_sliding_images(rows), with half a vector of
// columns and `taps` in a row of the filter; null where there is none, and tile_for's has to do.
// The call's step is 1, its row is the number of channels, each of its runs `taps` times as long,
// and the whole panel may be read.
template <typename T>
SlidingTile<T> sliding_tile_for(int rows, bool one_image, int64_t taps);

}  // namespace adjoint::cpu
