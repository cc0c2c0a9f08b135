// A convolution's input gradient on tensor cores from shared memory alone (conv_gemm_resident.h): a
// block has an image of y there and the filter's values for a tile of x's channels.
//
//   const ResidentRows rows(s);
//   add_resident_products<ResidentTile<Bf16>>(dy, filter, s, rows, sums);
//
// For images of x with no more pixels than a tile has rows.
#pragma once

#include <algorithm>

#include "runtime/cuda/kernels/conv_gemm_copy.h"
#include "runtime/cuda/kernels/conv_gemm_resident.h"
#include "runtime/cuda/kernels/conv_gemm_rows.h"

namespace adjoint::cuda {

// As many as registers hold the sums of.
inline constexpr int kResidentRows = 144;

template <typename T>
using ResidentTile = WarpSums<TensorProduct<T, TensorSide<T, kResidentRows, Order::k_inner>,
                                            TensorSide<T, kInputColumns, Order::k_outer>>,
                              8>;

// Of the filter, for each tap and channel of y a row: in elements.
template <typename T>
ADJOINT_HOST_DEVICE int resident_filter_size(const ConvSizes& s, const ResidentImage<T>& image) {
  return s.taps() * image.channels * kInputColumns;
}

// The rows are all pixels of an image of x.
class ResidentRows {
 public:
  __device__ explicit ResidentRows(const ConvSizes& s) : pixels_(s.height.x * s.width.x) {}
  // But for shared memory.
  static bool fit(const ConvGeometry& g) {
    return g.axes[0].x * g.axes[1].x <= kResidentRows && g.y_channels <= kMostResidentChannels;
  }
  static int blocks(const ConvGeometry& g) { return static_cast<int>(g.batch); }
  static dim3 grid(const ConvGeometry& g) {
    return dim3(blocks(g), tiles_of(g.x_channels, kInputColumns));
  }
  static constexpr int kThreads = 256;  // that a multiprocessor runs at a time
  template <typename Tile>
  static size_t shared_bytes(const ConvSizes& s) {
    using T = typename Tile::Element;
    const auto image = ResidentImage<T>::of_y(s);
    return std::max<size_t>(sizeof(T) * (image.size() + resident_filter_size(s, image)),
                            Tile::kSumBytes);
  }

  __device__ int block() const { return static_cast<int>(blockIdx.x); }  // and which image
  __device__ int first_channel() const { return static_cast<int>(blockIdx.y) * kInputColumns; }
  __device__ int count(const ConvSizes&) const { return pixels_; }
  __device__ int pixel(const ConvSizes&, int row) const {
    return row < pixels_ ? block() * pixels_ + row : -1;
  }

 private:
  int pixels_;
};

// Begins to copy the filter's values for a tile's channels, tap after tap: for each channel of y a
// row.
template <typename T>
__device__ inline void copy_filter(const T* filter, const ConvSizes& s,
                                   const ResidentImage<T>& image, int first_channel, int threads) {
  constexpr int kPack = kFullPack<T>, kPacks = kInputColumns / kPack;
  const Shared<FullPack<T>> to = shared_memory<FullPack<T>>(
      resident_filter_size(s, image) / kPack, image.size() * static_cast<int>(sizeof(T)));
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

// Of the block's tile, the warp's share of all taps and channels of y.
template <typename Tile, typename T = typename Tile::Element>
__device__ inline void add_resident_products(const T* dy, const T* filter, const ConvSizes& s,
                                             const ResidentRows& rows, typename Tile::Sums& sums) {
  constexpr int kBytes = static_cast<int>(sizeof(T)), kWord = 4 / kBytes, kStep = Tile::kStep;
  constexpr int kRowTiles = kResidentRows / 16, kColumnTiles = kInputColumns / 8;
  const auto image = ResidentImage<T>::of_y(s);
  copy_image(dy, image, Tile::kThreads);
  copy_filter(filter, s, image, rows.first_channel(), Tile::kThreads);
  end_copies();
  const int lane = threadIdx.x % 32;
  int places[kRowTiles];
  find_places(image,
              {.top = image.rows.begin + s.height.pad,
               .left = image.columns.begin + s.width.pad,
               .rows = s.height.x,
               .columns = s.width.x},
              places);
  const GemmShare share(threadIdx.x / 32, Tile::kWarps, s.taps() * image.channels / kStep);
  TapCursor cursor(0, 0, s.width.filter, image.channels, share.first * kStep);
  wait_for_resident<T>(image.size() + resident_filter_size(s, image), Tile::kThreads);
  const Shared<uint32_t> words = shared_memory<uint32_t>(image.size() / kWord);
  int columns = (image.size() + share.first * kStep * kInputColumns) * kBytes;
  for (int step = share.first; step < share.end; ++step) {
    const int down = cursor.row * s.height.dilation, right = cursor.column * s.width.dilation;
    const int move = (cursor.channel - image.step(down, right)) / kWord + lane / 16 * 4;
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
