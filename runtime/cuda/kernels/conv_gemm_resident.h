// A convolution's input gradient on tensor cores from shared memory alone: a block has an image of
// y there and the filter's values for a tile of x's channels, and reads of neither twice from the
// device's memory. What the taps see beyond the image's edges are zeros around it.
//
//   const ResidentRows rows(s);
//   add_resident_products<ResidentTile<Bf16>>(dy, filter, s, rows, sums);
//
// For images of x with no more pixels than a tile has rows.
#pragma once

#include <algorithm>

#include "runtime/cuda/device/async_copy.h"
#include "runtime/cuda/device/gemm_tensor.h"
#include "runtime/cuda/kernels/conv_gemm_copy.h"
#include "runtime/cuda/kernels/conv_gemm_rows.h"
#include "runtime/cuda/kernels/conv_sizes.h"

namespace adjoint::cuda {

// As many as registers hold the sums of.
inline constexpr int kResidentRows = 144;

// Where y and the filter lie in shared memory, in elements of T. A pixel's channels are whole steps
// of k, and then so many bytes that eight pixels beside each other are in different banks.
template <typename T>
struct ResidentImage {
  static constexpr int kStep = kGemmStep<T>, kPack = kFullPack<T>;
  int top, left, rows, columns;  // y begins at (top, left)
  int channels, pixel;

  ADJOINT_HOST_DEVICE explicit ResidentImage(const ConvSizes& s)
      : top(margin(s.height)),
        left(margin(s.width)),
        rows(top + span(s.height)),
        columns(left + span(s.width)),
        channels((s.o + kStep - 1) / kStep * kStep),
        pixel(channels + kPack) {}

  ADJOINT_HOST_DEVICE int size() const { return rows * columns * pixel; }
  ADJOINT_HOST_DEVICE int filter_size(const ConvSizes& s) const {
    return s.taps() * channels * kInputColumns;
  }
  // What a pixel of x reads at the first tap.
  __device__ int place(const ConvSizes& s, int row, int column) const {
    return ((top + row + s.height.pad) * columns + left + column + s.width.pad) * pixel;
  }
  // How far before that is what it reads at another one.
  __device__ int step_to(const ConvSizes& s, const TapCursor& tap) const {
    return (tap.row * s.height.dilation * columns + tap.column * s.width.dilation) * pixel;
  }

 private:
  // Before y, and from there on.
  ADJOINT_HOST_DEVICE static int margin(const ConvSizes::Axis& axis) {
    const int before = (axis.filter - 1) * axis.dilation - axis.pad;
    return before > 0 ? before : 0;
  }
  ADJOINT_HOST_DEVICE static int span(const ConvSizes::Axis& axis) {
    return axis.y > axis.x + axis.pad ? axis.y : axis.x + axis.pad;
  }
};

template <typename T>
using ResidentTile = WarpSums<TensorProduct<T, TensorSide<T, kResidentRows, Order::k_inner>,
                                            TensorSide<T, kInputColumns, Order::k_outer>>,
                              8>;

// The rows are all pixels of an image of x.
class ResidentRows {
 public:
  __device__ explicit ResidentRows(const ConvSizes& s) : pixels_(s.height.x * s.width.x) {}
  // But for shared memory.
  static bool fit(const ConvGeometry& g) {
    return g.axes[0].x * g.axes[1].x <= kResidentRows && g.y_channels <= kMostChannels;
  }
  static int blocks(const ConvGeometry& g) { return static_cast<int>(g.batch); }
  static dim3 grid(const ConvGeometry& g) {
    return dim3(blocks(g), tiles_of(g.x_channels, kInputColumns));
  }
  static constexpr int kThreads = 256;  // that a multiprocessor runs at a time
  template <typename Tile>
  static size_t shared_bytes(const ConvSizes& s) {
    using T = typename Tile::Element;
    const ResidentImage<T> image(s);
    return std::max<size_t>(sizeof(T) * (image.size() + image.filter_size(s)), Tile::kSumBytes);
  }

  __device__ int block() const { return static_cast<int>(blockIdx.x); }  // and which image
  __device__ int first_channel() const { return static_cast<int>(blockIdx.y) * kInputColumns; }
  __device__ int count(const ConvSizes&) const { return pixels_; }
  __device__ int pixel(const ConvSizes&, int row) const {
    return row < pixels_ ? block() * pixels_ + row : -1;
  }

 private:
  static constexpr int64_t kMostChannels = 1024;  // of y, so that a thread has whole pixels to copy
  int pixels_;
};

// Begins to copy a block's image, with zeros around. A thread has the same pack of every so many
// pixels.
template <typename T>
__device__ inline void copy_image(const T* dy, const ConvSizes& s, const ResidentImage<T>& image,
                                  int threads) {
  constexpr int kPack = kFullPack<T>;
  using Quad = Pack<T, kPack>;
  const Shared<Quad> to = shared_memory<Quad>(image.size() / kPack);
  const int packs = image.channels / kPack, step = threads / packs;
  const int first = static_cast<int>(threadIdx.x) / packs;
  const int pack = static_cast<int>(threadIdx.x) - first * packs;
  if (first >= step) return;
  const T* const from = dy + static_cast<int>(blockIdx.x) * s.height.y * s.width.y * s.o;
  int row = 0, column = first;
  for (int pixel = first; pixel < image.rows * image.columns; pixel += step, column += step) {
    while (column >= image.columns) column -= image.columns, ++row;
    const int y = row - image.top, x = column - image.left;
    const bool is_there = static_cast<unsigned>(y) < static_cast<unsigned>(s.height.y) &&
                          static_cast<unsigned>(x) < static_cast<unsigned>(s.width.y) &&
                          pack * kPack < s.o;
    begin_copy(&to[pixel * (image.pixel / kPack) + pack],
               from + (y * s.width.y + x) * s.o + pack * kPack, is_there);
  }
}

// And the filter's values for a tile's channels, tap after tap: for each channel of y a row.
template <typename T>
__device__ inline void copy_filter(const T* filter, const ConvSizes& s,
                                   const ResidentImage<T>& image, int first_channel, int threads) {
  constexpr int kPack = kFullPack<T>, kPacks = kInputColumns / kPack;
  using Quad = Pack<T, kPack>;
  const Shared<Quad> to =
      shared_memory<Quad>(image.filter_size(s) / kPack, image.size() * static_cast<int>(sizeof(T)));
  const int step = threads / kPacks, first = static_cast<int>(threadIdx.x) / kPacks;
  const int pack = static_cast<int>(threadIdx.x) % kPacks, channel = first_channel + pack * kPack;
  if (first >= step) return;
  const int taps = s.taps(), step_o = step / taps, step_tap = step - step_o * taps;
  int o = first / taps, tap = first - o * taps;  // in the filter's own order
  while (o < image.channels) {
    begin_copy(&to[(tap * image.channels + o) * kPacks + pack],
               filter + (o * taps + tap) * s.c + channel, o < s.o && channel < s.c);
    o += step_o;
    tap += step_tap;
    if (tap >= taps) tap -= taps, ++o;
  }
}

// Floats become TF32 where they lie, each once.
__device__ inline void round_to_tf32(int floats, int threads) {
  using Quad = Pack<float, 4>;
  const Shared<Quad> quads = shared_memory<Quad>(floats / 4);
  for (int i = threadIdx.x; i < floats / 4; i += threads) {
    Quad quad = quads[i];
    for (float& value : quad.values) {
      value = __builtin_bit_cast(float, mma_word(Pack<float, 1>{{value}}));
    }
    quads[i] = quad;
  }
  __syncthreads();
}

// Of the block's tile, the warp's share of all taps and channels of y.
template <typename Tile, typename T = typename Tile::Element>
__device__ inline void add_resident_products(const T* dy, const T* filter, const ConvSizes& s,
                                             const ResidentRows& rows, typename Tile::Sums& sums) {
  constexpr int kBytes = static_cast<int>(sizeof(T)), kWord = 4 / kBytes, kStep = Tile::kStep;
  constexpr int kRowTiles = kResidentRows / 16, kColumnTiles = kInputColumns / 8;
  const ResidentImage<T> image(s);
  copy_image(dy, s, image, Tile::kThreads);
  copy_filter(filter, s, image, rows.first_channel(), Tile::kThreads);
  end_copies();
  const int lane = threadIdx.x % 32;
  int places[kRowTiles];  // of the lane's rows at the first tap, in words
  for (int i = 0, row = 0, column = lane % 16; i < kRowTiles; ++i, column += 16) {
    while (column >= s.width.x) column -= s.width.x, ++row;
    // Those past the end are not stored.
    const int at = image.place(s, min(row, s.height.x - 1), column);
    places[i] = at / kWord + lane / 16 * 4;
  }
  const GemmShare share(threadIdx.x / 32, Tile::kWarps, s.taps() * image.channels / kStep);
  TapCursor cursor(0, 0, s.width.filter, image.channels, share.first * kStep);
  wait_for_copies<0>();
  __syncthreads();
  if constexpr (kWord == 1) round_to_tf32(image.size() + image.filter_size(s), Tile::kThreads);
  const Shared<uint32_t> words = shared_memory<uint32_t>(image.size() / kWord);
  int columns = (image.size() + share.first * kStep * kInputColumns) * kBytes;
  for (int step = share.first; step < share.end; ++step) {
    const int move = (cursor.channel - image.step_to(s, cursor)) / kWord;
    uint32_t a[kRowTiles][4], b[kColumnTiles][2];
    for (int j = 0; j < kColumnTiles; ++j) {
      for (int half = 0; half < 2; ++half) {
        b[j][half] = Tile::Columns::word(columns, 8 * j + lane / 4, half);
      }
    }
    for (int i = 0; i < kRowTiles; ++i) load_mma_rows(&words[places[i] + move], a[i]);
    mma<T>(sums, a, b);
    columns += kStep * kInputColumns * kBytes;
    cursor.template advance<1>(kStep);
  }
}

}  // namespace adjoint::cuda
