// How the filter's gradient of a thin convolution is shared out: tiles of dy, and of the x that
// they see, in shared memory, where all that need them read them.
//
//   const Shares shares(g, run, at_once);
//   const Tile tile(g, shares, width);
//   for (int t = begin; t < end; ++t) bring_x(x, g, tile, Place::of_tile(shares, t));
#pragma once

#include <algorithm>

#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernels/conv_thin_geometry.h"

namespace adjoint::cuda {

inline constexpr int kThinThreads = 256;  // of a block, at most
using Four = Pack<float, 4>;

inline int ratio_up(int a, int b) { return (a + b - 1) / b; }

// How the filter's gradient is shared out. Each block has some tiles, one after the other; while
// one waits for its data, another one on the same multiprocessor computes. What a block's threads
// add up is in `slices` arrays at last. The blocks' sums are added in groups, and those of the
// groups at last.
struct Shares {
  static constexpr int kGroup = 16;       // blocks
  static constexpr int kMostGroups = 16;  // with a ticket each, before that of the groups
  static_assert(kMostGroups < kTickets);

  int run;         // neighbours in a row that are added up at a time
  int rows, runs;  // of a tile, an even number of rows; the runs of each
  int slices, threads;
  int down, across;  // tiles of an image
  int tiles, tiles_each, blocks, groups;

  // At most so many runs of a tile are added up at a time.
  Shares(const Thin& g, int run, int at_once) : run(run) {
    const int most = std::clamp(1200 / run / g.packs(), 2, std::max(at_once, 2));  // 40 KB of dy
    runs = std::min(ratio_up(g.y_columns, run), most / 2);
    down = ratio_up(g.y_rows, 2 * (most / runs / 2));
    rows = 2 * ratio_up(g.y_rows, 2 * down);
    across = ratio_up(g.y_columns, runs * run);
    tiles = g.batch * down * across;
    tiles_each = ratio_up(tiles, kGroup * kMostGroups);
    blocks = ratio_up(tiles, tiles_each);
    groups = ratio_up(blocks, kGroup);
  }
  ADJOINT_HOST_DEVICE int blocks_in(int group) const {
    return group < groups - 1 ? kGroup : blocks - group * kGroup;
  }
};

// A tile in shared memory, as floats: rows of dy, and behind them the rows of x, padding included,
// that the filter sees from there.
struct Tile {
  int y_row, x_row;  // elements of a row
  int y_size, x_size;

  ADJOINT_HOST_DEVICE Tile(const Thin& g, const Shares& s, int width)
      : y_row(s.runs * s.run * g.y_channels + 4),  // neighbouring rows begin in other banks
        x_row((s.runs * s.run + width - 1) * g.x_channels),
        y_size(s.rows * y_row),
        x_size((s.rows + g.height - 1) * x_row) {}
  ADJOINT_HOST_DEVICE int bytes() const {
    return (y_size + x_size) * static_cast<int>(sizeof(float));
  }
  __device__ Shared<float> y() const { return shared_memory<float>(y_size); }
  __device__ Shared<float> x() const {
    return shared_memory<float>(x_size, y_size * static_cast<int>(sizeof(float)));
  }
};

// Where a pixel of y is; that of a tile is its first one.
struct Place {
  int image, row, column;

  __device__ static Place of_tile(const Shares& s, int tile) {
    const int row = tile / s.across, image = row / s.down;
    return {image, (row - image * s.down) * s.rows, (tile - row * s.across) * s.runs * s.run};
  }
  __device__ Place moved(int down, int right) const { return {image, row + down, column + right}; }
  __device__ bool is_inside(const Thin& g) const { return row < g.y_rows && column < g.y_columns; }
  __device__ int pixel(const Thin& g) const {
    return (image * g.y_rows + row) * g.y_columns + column;
  }
};

template <typename T>
__device__ inline void bring_x(const T* x, const Thin& g, const Tile& tile, const Place& first) {
  const Shared<float> to = tile.x();
  const int elements = g.x_columns * g.x_channels;
  for (int i = threadIdx.x; i < tile.x_size; i += blockDim.x) {
    const int down = i / tile.x_row, row = first.row - g.pad_rows + down;
    const int element = (first.column - g.pad_columns) * g.x_channels + i - down * tile.x_row;
    const bool is_inside = static_cast<unsigned>(row) < static_cast<unsigned>(g.x_rows) &&
                           static_cast<unsigned>(element) < static_cast<unsigned>(elements);
    to[i] = is_inside ? widen(x[(first.image * g.x_rows + row) * elements + element]) : 0.0f;
  }
}

}  // namespace adjoint::cuda
