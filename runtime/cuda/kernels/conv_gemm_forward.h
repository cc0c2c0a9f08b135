// What the kernels share that compute y of a convolution as a product of tiles (conv_gemm.h): the
// rows are pixels of y, the columns its channels; k are the taps and channels of x. And that
// product from shared memory alone (conv_gemm_resident.h): a block has an image of x there and the
// filters of a tile of channels.
//
//   const ForwardImage rows(s);
//   copy_image(x, image, Tile::kThreads);
//   copy_filters(filter, s, image, Tile::kThreads);
//   end_copies();
//   add_resident_products<Tile>(s, image, sums);
//   store_with_moments<Tile>(sums, y, s, rows, groups, moments);
#pragma once

#include <algorithm>

#include "runtime/cuda/device/column_moments.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_gemm_copy.h"
#include "runtime/cuda/kernels/conv_gemm_resident.h"

namespace adjoint::cuda {

inline constexpr int kForwardRows = 64, kForwardColumns = 48;

template <typename T>
using ForwardProduct = TensorProduct<T, TensorSide<T, kForwardRows, Order::k_inner>,
                                     TensorSide<T, kForwardColumns, Order::k_inner>>;
template <typename T>
using ForwardResident = WarpSums<ForwardProduct<T>, 8>;

// The filters of a tile's channels, in elements of T: a row for each, of whole steps of k and a
// pack of zeros, an odd number of packs as a pixel's.
template <typename T>
struct ResidentFilters {
  int steps, row;
  ADJOINT_HOST_DEVICE explicit ResidentFilters(const ConvSizes& s)
      : steps(tiles_of(s.depth(), kGemmStep<T>)), row((2 * steps + 1) * kFullPack<T>) {}
  ADJOINT_HOST_DEVICE int size() const { return kForwardColumns * row; }
};

// Rows that are pixels of y, one behind the other.
struct ForwardPixels {
  int first, count;

  __device__ explicit ForwardPixels(const ConvSizes& s)
      : first(static_cast<int>(blockIdx.x) * kForwardRows),
        count(min(kForwardRows, s.pixels() - first)) {}
  static int blocks(const ConvGeometry& g) {
    return tiles_of(g.y_size() / g.y_channels, kForwardRows);
  }
  template <typename Tile>
  static size_t shared_bytes(const ConvSizes&) {
    return Tile::kSharedBytes;
  }
};

// Rows that are all pixels of an image of y, whose image of x lies in shared memory.
struct ForwardImage {
  int first, count;

  __device__ explicit ForwardImage(const ConvSizes& s)
      : first(static_cast<int>(blockIdx.x) * s.height.y * s.width.y),
        count(s.height.y * s.width.y) {}
  // But for shared memory.
  static bool fit(const ConvGeometry& g) {
    return g.axes[0].y * g.axes[1].y <= kForwardRows && g.x_channels <= kMostResidentChannels &&
           g.filter_size() / g.y_channels <= kMostDepth;
  }
  static int blocks(const ConvGeometry& g) { return static_cast<int>(g.batch); }
  template <typename Tile>
  static size_t shared_bytes(const ConvSizes& s) {
    using T = typename Tile::Element;
    const int size = ResidentImage<T>::of_x(s).size() + ResidentFilters<T>(s).size();
    return std::max<size_t>(sizeof(T) * size, Tile::kSumBytes);
  }

 private:
  static constexpr int64_t kMostDepth = 1 << 16;  // of a filter: sizes below what an int holds
};

template <typename Rows>
ColumnGroups groups_of(const ConvGeometry& g) {
  return {Rows::blocks(g), tiles_of(g.y_channels, kForwardColumns), kTickets};
}

template <typename Tile, typename Rows>
LaunchShape shape_of(const ConvGeometry& g) {
  return {.grid = dim3(Rows::blocks(g), tiles_of(g.y_channels, kForwardColumns)),
          .block = dim3(Tile::kThreads),
          .shared_bytes = Rows::template shared_bytes<Tile>(ConvSizes(g))};
}

inline ColumnMoments moments_of(const ConvGemmCall& call) {
  return {.bias = call.bias,
          .parts = static_cast<ColumnPart*>(call.workspace),
          .tickets = call.tickets,
          .mean = call.mean,
          .variance = call.variance};
}

// Begins to copy the filters of the block's channels, behind the image.
template <typename T>
__device__ inline void copy_filters(const T* filter, const ConvSizes& s,
                                    const ResidentImage<T>& image, int threads) {
  constexpr int kPack = kFullPack<T>;
  const ResidentFilters<T> filters(s);
  const Shared<FullPack<T>> to = shared_memory<FullPack<T>>(
      filters.size() / kPack, image.size() * static_cast<int>(sizeof(T)));
  const int packs = filters.row / kPack, lane = threadIdx.x % 32;
  for (int row = threadIdx.x / 32; row < kForwardColumns; row += threads / 32) {
    const int channel = static_cast<int>(blockIdx.y) * kForwardColumns + row;
    for (int pack = lane; pack < packs; pack += 32) {
      begin_copy(&to[row * packs + pack], filter + channel * s.depth() + pack * kPack,
                 channel < s.o && pack * kPack < s.depth());
    }
  }
}

// Of the block's tile, the warp's share, once the image and the filters are there. Each half of a
// step has a tap of its own.
template <typename Tile, typename T = typename Tile::Element>
__device__ inline void add_resident_products(const ConvSizes& s, const ResidentImage<T>& image,
                                             typename Tile::Sums& sums) {
  constexpr int kWord = 4 / static_cast<int>(sizeof(T)), kStep = Tile::kStep;
  constexpr int kRowTiles = kForwardRows / 16, kColumnTiles = kForwardColumns / 8;
  const ResidentFilters<T> filters(s);
  const int lane = threadIdx.x % 32, half = lane / 16;
  int places[kRowTiles];
  find_places(image,
              {.stride_y = s.height.stride,
               .stride_x = s.width.stride,
               .rows = s.height.y,
               .columns = s.width.y},
              places);
  const GemmShare share(threadIdx.x / 32, Tile::kWarps, filters.steps);
  TapCursor cursor(0, 0, s.width.filter, s.c, share.first * kStep + half * Tile::kPack);
  wait_for_resident<T>(image.size() + filters.size(), Tile::kThreads);
  const Shared<uint32_t> words = shared_memory<uint32_t>((image.size() + filters.size()) / kWord);
  const int zeros = (image.size() + filters.row - Tile::kPack) / kWord;
  int column = image.size() + lane % 16 * filters.row + share.first * kStep + half * Tile::kPack;
  for (int step = share.first; step < share.end; ++step) {
    uint32_t a[kRowTiles][4], b[kColumnTiles][2];
    for (int j = 0; j < kColumnTiles; j += 2) {
      uint32_t pair[4];
      load_mma_rows(&words[(column + 8 * j * filters.row) / kWord], pair);
      for (int i = 0; i < 2; ++i) b[j + i][0] = pair[i], b[j + i][1] = pair[2 + i];
    }
    const int down = cursor.row * s.height.dilation, right = cursor.column * s.width.dilation;
    const int move = (image.step(down, right) + cursor.channel) / kWord;
    const bool has_tap = cursor.row < s.height.filter;
    for (int i = 0; i < kRowTiles; ++i) {
      load_mma_rows(&words[has_tap ? places[i] + move : zeros], a[i]);
    }
    mma<T>(sums, a, b);
    column += kStep;
    cursor.template advance<2>(kStep);  // a tap has a pack at least
  }
}

// The block's tile of y, and the moments of its channels.
template <typename Tile, typename Rows, typename T = typename Tile::Element>
__device__ inline void store_with_moments(const typename Tile::Sums& sums, T* y, const ConvSizes& s,
                                          const Rows& rows, const ColumnGroups& groups,
                                          const ColumnMoments& moments) {
  static_assert(Tile::Rows::kSize == kForwardRows && Tile::Columns::kSize == kForwardColumns);
  static_assert(Tile::kTileBytes + column_scratch_bytes<ColumnPart>(Tile::kThreads) <=
                Tile::kSumBytes);
  const int first_channel = blockIdx.y * kForwardColumns;
  const int channels = min(kForwardColumns, s.o - first_channel);
  const Shared<float> tile =
      Tile::add_warps_and_keep(sums, [&](int row, int column, typename Tile::Vector values) {
        if (row < rows.count && column < channels) {
          store(y + ((rows.first + row) * s.o + first_channel + column), values);
        }
        return rounded<T>(values);
      });
  const ColumnSlice at(channels);
  ColumnPart part;
  if (at.is_inside()) {
    const float bias = moments.bias == nullptr ? 0 : moments.bias[first_channel + at.channel];
    part.first = tile[at.channel] + bias;
    for (int row = at.slice; row < rows.count; row += at.slices) {
      part.add(tile[row * Tile::kTileRow + at.channel] + bias);
    }
  }
  const ColumnBlock block = {.number = static_cast<int>(blockIdx.x),
                             .first = first_channel,
                             .channels = channels,
                             .all = s.o,
                             .tickets = moments.tickets + blockIdx.y * groups.tickets()};
  join_moments(block, groups, moments, part, Tile::kTileBytes);
}

}  // namespace adjoint::cuda
