// What the rows of a block's tile are where a convolution's input gradient is copied tile by tile
// (ConvGemmRows): which pixels of x, and what they read of dy at a tap.
//
//   const PixelRows rows(s);
//   PixelRows::Sources<4> sources;  // of four rows
//   sources.set(0, s, rows, row);
//   sources.move_to(s, cursor);
//   const RowSource from = sources(0, s);
#pragma once

#include "runtime/cuda/kernels/conv_gemm_copy.h"
#include "runtime/cuda/kernels/conv_sizes.h"

namespace adjoint::cuda {

// Rows, and columns, which are channels of x, of a tile.
inline constexpr int kInputRows = 64, kInputColumns = 24;

// The taps from `first` up to `end` see pixel `at` of x.
struct Viewers {
  int first, end;
  __device__ Viewers(const ConvSizes::Axis& axis, int at) {
    const int place = at + axis.pad;  // the pixel of y that sees it with tap 0
    const int beyond = place - (axis.y - 1);
    first = beyond <= 0 ? 0 : (beyond + axis.dilation - 1) / axis.dilation;
    end = max(first, min(axis.filter, place / axis.dilation + 1));
  }
  __device__ int count() const { return end - first; }
};

// The middle first, then outwards: 2, 3, 1, 4, 0.
__device__ inline int outwards(int rank, int size) {
  const int middle = (size - 1) / 2;
  return rank % 2 == 0 ? middle - rank / 2 : middle + (rank + 1) / 2;
}

// What a row of a tile reads of dy at a tap: from an element on, or zeros.
struct RowSource {
  int at;
  bool is_there;
};

// The rows of a block's tile are images, all at one pixel of x, and k has the taps that see it:
// none is outside for a part of a tile. Pixels in the middle are seen by most taps: they begin
// first.
class ImageRows {
 public:
  __device__ explicit ImageRows(const ConvSizes& s)
      : ImageRows(s, blockIdx.x / tiles_of(s.batch, kInputRows), tiles_of(s.c, kInputColumns)) {}
  // Blocks that have the same channels.
  static int blocks(const ConvGeometry& g) {
    return static_cast<int>(tiles_of(g.batch, kInputRows) * g.axes[0].x * g.axes[1].x);
  }
  static dim3 grid(const ConvGeometry& g) {
    return dim3(blocks(g) * tiles_of(g.x_channels, kInputColumns));
  }

  static constexpr int kThreads = 512;  // that a multiprocessor runs at a time
  template <typename Tile>
  static size_t shared_bytes(const ConvSizes&) {
    return Tile::kSharedBytes;
  }

  __device__ int block() const { return block_; }  // of those that have the same channels
  __device__ int first_channel() const { return channel_; }
  __device__ int taps() const { return rows_.count() * columns_.count(); }
  __device__ TapCursor cursor(int channels, int at) const {
    return {rows_.first, columns_.first, columns_.end, channels, at};
  }
  __device__ int count(const ConvSizes& s) const { return min(kInputRows, s.batch - image_); }
  __device__ int pixel(const ConvSizes& s, int row) const {  // of x; negative: none
    if (image_ + row >= s.batch) return -1;
    return ((image_ + row) * s.height.x + row_) * s.width.x + column_;
  }
  __device__ int place(const ConvSizes& s, int row) const {
    const int image = min(image_ + row, s.batch - 1);
    const int pixel = (row_ + s.height.pad) * s.width.y + column_ + s.width.pad;
    return (image * s.height.y * s.width.y + pixel) * s.o;
  }

  // Of some rows, as many as a lane copies.
  template <int kCount>
  struct Sources {
    int at[kCount];
    int step;  // to the tap
    __device__ void set(int i, const ConvSizes& s, const ImageRows& rows, int row) {
      at[i] = rows.place(s, row);
    }
    __device__ void move_to(const ConvSizes& s, const TapCursor& tap) {
      step = -(tap.row * s.height.dilation * s.width.y + tap.column * s.width.dilation) * s.o;
    }
    __device__ RowSource operator()(int i, const ConvSizes&) const { return {at[i] + step, true}; }
  };

 private:
  __device__ ImageRows(const ConvSizes& s, int tile, int channel_tiles)
      : image_(static_cast<int>(blockIdx.x % tiles_of(s.batch, kInputRows)) * kInputRows),
        channel_(tile % channel_tiles * kInputColumns),
        block_(tile / channel_tiles * tiles_of(s.batch, kInputRows) + image_ / kInputRows),
        row_(outwards(tile / channel_tiles / s.width.x, s.height.x)),
        column_(outwards(tile / channel_tiles % s.width.x, s.width.x)),
        rows_(s.height, row_),
        columns_(s.width, column_) {}

  int image_, channel_, block_, row_, column_;
  Viewers rows_, columns_;
};

// The rows are pixels of x, one behind the other, so that neighbouring rows read the same of dy at
// neighbouring taps; taps that do not see a row's pixel read zeros.
class PixelRows {
 public:
  __device__ explicit PixelRows(const ConvSizes& s)
      : first_(static_cast<int>(blockIdx.x) * kInputRows),
        taps_columns_(s.width.filter),
        taps_(s.taps()) {}
  static int blocks(const ConvGeometry& g) {
    return tiles_of(g.batch * g.axes[0].x * g.axes[1].x, kInputRows);
  }
  static dim3 grid(const ConvGeometry& g) {
    return dim3(blocks(g), tiles_of(g.x_channels, kInputColumns));
  }

  static constexpr int kThreads = 512;  // that a multiprocessor runs at a time
  template <typename Tile>
  static size_t shared_bytes(const ConvSizes&) {
    return Tile::kSharedBytes;
  }

  __device__ int block() const { return static_cast<int>(blockIdx.x); }
  __device__ int first_channel() const { return static_cast<int>(blockIdx.y) * kInputColumns; }
  __device__ int taps() const { return taps_; }
  __device__ TapCursor cursor(int channels, int at) const {
    return {0, 0, taps_columns_, channels, at};
  }
  __device__ int count(const ConvSizes& s) const {
    return min(kInputRows, s.batch * s.height.x * s.width.x - first_);
  }
  __device__ int pixel(const ConvSizes& s, int row) const {
    return first_ + row < s.batch * s.height.x * s.width.x ? first_ + row : -1;
  }

  template <int kCount>
  struct Sources {
    int at[kCount], top[kCount], left[kCount];
    int down, right, step;
    __device__ void set(int i, const ConvSizes& s, const PixelRows& rows, int row) {
      const int pixel = max(rows.pixel(s, row), 0);  // those past the end are not stored
      const int image_row = pixel / s.width.x, image = image_row / s.height.x;
      top[i] = image_row - image * s.height.x + s.height.pad;
      left[i] = pixel - image_row * s.width.x + s.width.pad;
      at[i] = ((image * s.height.y + top[i]) * s.width.y + left[i]) * s.o;
    }
    __device__ void move_to(const ConvSizes& s, const TapCursor& tap) {
      down = tap.row * s.height.dilation;
      right = tap.column * s.width.dilation;
      step = -(down * s.width.y + right) * s.o;
    }
    __device__ RowSource operator()(int i, const ConvSizes& s) const {
      return {at[i] + step,
              static_cast<unsigned>(top[i] - down) < static_cast<unsigned>(s.height.y) &&
                  static_cast<unsigned>(left[i] - right) < static_cast<unsigned>(s.width.y)};
    }
  };

 private:
  int first_, taps_columns_, taps_;
};

}  // namespace adjoint::cuda
