#include <algorithm>
#include <limits>

#include "runtime/cuda/device/column_moments.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/gemm_tensor.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_gemm_copy.h"
#include "runtime/cuda/kernels/conv_sizes.h"

namespace adjoint::cuda {
namespace {

// y: the rows are pixels of y, the columns its channels; k are the taps and channels of x.
using ForwardCores =
    GemmTile<CoreProduct<TileSide<8, 8, Order::k_inner>, TileSide<12, 4, Order::k_inner>>, 8, 2>;
template <typename T>
using ForwardTensor =
    GemmTile<TensorProduct<T, TensorSide<T, 64, Order::k_inner>, TensorSide<T, 48, Order::k_inner>>,
             8, 3>;

// Pairs of lanes copy the two packs of a step, which may belong to two taps: 16 rows at a time.
template <typename Tile>
struct ForwardCopy {
  using Rows = typename Tile::Rows;
  using Columns = typename Tile::Columns;
  using T = typename Tile::Element;
  static constexpr int kRows = Rows::kSize / 16, kColumns = Columns::kSize / 16;

  const ConvSizes& s;
  const T *x, *filter;
  int plane, slot;
  int row_at[kRows], top[kRows], left[kRows], column_at[kColumns];
  TapCursor cursor;

  __device__ ForwardCopy(const T* x_, const T* filter_, const ConvSizes& s_, int step)
      : s(s_),
        x(x_),
        filter(filter_),
        plane(threadIdx.x % 2),
        slot(threadIdx.x % 32 / 2),
        cursor(0, 0, s_.width.filter, s_.c, step * Tile::kStep + plane * Tile::kPack) {
    const int pixels = s.pixels();
    for (int i = 0; i < kRows; ++i) {
      const int place = blockIdx.x * Rows::kSize + Rows::place_of_slot(slot + 16 * i);
      const int pixel = min(place, pixels - 1);  // those past the end are not stored
      const int image_row = pixel / s.width.y;
      const int image = image_row / s.height.y;
      top[i] = (image_row - image * s.height.y) * s.height.stride - s.height.pad;
      left[i] = (pixel - image_row * s.width.y) * s.width.stride - s.width.pad;
      row_at[i] = ((image * s.height.x + top[i]) * s.width.x + left[i]) * s.c;
    }
    for (int i = 0; i < kColumns; ++i) {
      const int place = blockIdx.y * Columns::kSize + Columns::place_of_slot(slot + 16 * i);
      column_at[i] = min(place, s.o - 1) * s.depth();
    }
  }

  __device__ void operator()(typename Tile::Stage stage) {
    const int down = cursor.row * s.height.dilation, right = cursor.column * s.width.dilation;
    const int x_step = (down * s.width.x + right) * s.c + cursor.channel;
    const int filter_step = (cursor.row * s.width.filter + cursor.column) * s.c + cursor.channel;
    const bool has_tap = cursor.row < s.height.filter;
    const auto rows = stage.rows(), columns = stage.columns();
    for (int i = 0; i < kRows; ++i) {
      const bool inside =
          static_cast<unsigned>(top[i] + down) < static_cast<unsigned>(s.height.x) &&
          static_cast<unsigned>(left[i] + right) < static_cast<unsigned>(s.width.x);
      begin_copy(&rows[plane * Rows::kPlane + slot + 16 * i], x + (row_at[i] + x_step),
                 has_tap && inside);
    }
    for (int i = 0; i < kColumns; ++i) {
      begin_copy(&columns[plane * Columns::kPlane + slot + 16 * i],
                 filter + (column_at[i] + filter_step), has_tap);
    }
    cursor.advance<2>(Tile::kStep);  // a tap has a pack at least
  }
};

// Of the block's tile, the warp's share.
template <typename Tile, typename T = typename Tile::Element>
__device__ inline void add_products(const T* x, const T* filter, const ConvSizes& s,
                                    typename Tile::Sums& sums) {
  const GemmShare share(threadIdx.x / 32, Tile::kWarps, tiles_of(s.depth(), Tile::kStep));
  ForwardCopy<Tile> copy(x, filter, s, share.first);
  Tile::accumulate(copy, share.end - share.first, sums);
}

template <typename Tile, typename T = typename Tile::Element>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    forward(const T* x, const T* filter, T* y, const __grid_constant__ ConvSizes s) {
  begin_kernel();
  typename Tile::Sums sums = {};
  add_products<Tile>(x, filter, s, sums);
  const int pixels = s.pixels();
  Tile::add_warps(sums, [&](int row, int column, typename Tile::Vector values) {
    const int pixel = blockIdx.x * Tile::Rows::kSize + row;
    const int channel = blockIdx.y * Tile::Columns::kSize + column;
    if (pixel < pixels && channel < s.o) store(y + (pixel * s.o + channel), values);
  });
}

// And the moments of y's channels.
template <typename Tile, typename T = typename Tile::Element>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    forward_moments(const T* x, const T* filter, T* y, const __grid_constant__ ConvSizes s,
                    ColumnGroups groups, const __grid_constant__ ColumnMoments moments) {
  begin_kernel();
  typename Tile::Sums sums = {};
  add_products<Tile>(x, filter, s, sums);
  const int first_pixel = blockIdx.x * Tile::Rows::kSize;
  const int first_channel = blockIdx.y * Tile::Columns::kSize;
  const int rows = min(Tile::Rows::kSize, s.pixels() - first_pixel);
  const int channels = min(Tile::Columns::kSize, s.o - first_channel);
  const Shared<float> tile =
      Tile::add_warps_and_keep(sums, [&](int row, int column, typename Tile::Vector values) {
        if (row < rows && column < channels) {
          store(y + ((first_pixel + row) * s.o + first_channel + column), values);
        }
        return rounded<T>(values);
      });
  const ColumnSlice at(channels);
  ColumnPart part;
  if (at.is_inside()) {
    const float bias = moments.bias == nullptr ? 0 : moments.bias[first_channel + at.channel];
    part.first = tile[at.channel] + bias;
    for (int row = at.slice; row < rows; row += at.slices) {
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

template <typename Tile>
void launch_forward(const char* name, const ConvGeometry& g, const ConvGemmCall& call) {
  using T = typename Tile::Element;
  const int64_t pixels = g.y_size() / g.y_channels;
  launch(name, forward<Tile>,
         {.grid = dim3(tiles_of(pixels, Tile::Rows::kSize),
                       tiles_of(g.y_channels, Tile::Columns::kSize)),
          .block = dim3(Tile::kThreads),
          .shared_bytes = Tile::kSharedBytes},
         call.stream, static_cast<const T*>(call.x), static_cast<const T*>(call.filter),
         static_cast<T*>(call.result), ConvSizes(g));
}

constexpr int kForwardRows = ForwardCores::Rows::kSize;
constexpr int kForwardColumns = ForwardCores::Columns::kSize;
ColumnGroups groups_of(const ConvGeometry& g) {
  return {tiles_of(g.y_size() / g.y_channels, kForwardRows),
          tiles_of(g.y_channels, kForwardColumns), kTickets};
}

template <typename Tile>
void launch_forward_moments(const char* name, const ConvGeometry& g, const ConvGemmCall& call) {
  using T = typename Tile::Element;
  static_assert(Tile::Rows::kSize == kForwardRows && Tile::Columns::kSize == kForwardColumns);
  static_assert(Tile::kTileBytes + column_scratch_bytes<ColumnPart>(Tile::kThreads) <=
                Tile::kSharedBytes);
  const ColumnGroups groups = groups_of(g);
  launch(name, forward_moments<Tile>,
         {.grid = dim3(groups.blocks, tiles_of(g.y_channels, kForwardColumns)),
          .block = dim3(Tile::kThreads),
          .shared_bytes = Tile::kSharedBytes},
         call.stream, static_cast<const T*>(call.x), static_cast<const T*>(call.filter),
         static_cast<T*>(call.result), ConvSizes(g), groups,
         ColumnMoments{.bias = call.bias,
                       .parts = static_cast<ColumnPart*>(call.workspace),
                       .tickets = call.tickets,
                       .mean = call.mean,
                       .variance = call.variance});
}

}  // namespace

bool fits_conv_gemm(const ConvGeometry& g, ConvGemmMath math) {
  const int pack = math == ConvGemmMath::bf16 ? kFullPack<Bf16> : kFullPack<float>;
  constexpr int64_t kMost = std::numeric_limits<int>::max() / 8;  // places a tile beyond fit an int
  const int64_t framed = g.batch * g.axes[0].span() * g.axes[1].span() * g.x_channels;
  const int64_t largest = std::max({framed, g.x_size(), g.y_size(), g.filter_size()});
  return g.groups == 1 && g.x_channels % pack == 0 && g.y_channels % pack == 0 &&
         largest <= kMost && std::min({g.x_size(), g.y_size(), g.filter_size()}) > 0 &&
         std::min(g.axes[0].pad, g.axes[1].pad) >= 0;
}

bool fits_conv_gemm_moments(const ConvGeometry& g, ConvGemmMath math) {
  return fits_conv_gemm(g, math) &&
         ColumnGroups::fit(tiles_of(g.y_channels, kForwardColumns), kTickets);
}

void conv_gemm(const ConvGeometry& g, ConvGemmMath math, const ConvGemmCall& call) {
  switch (math) {
    case ConvGemmMath::cores:
      return launch_forward<ForwardCores>("conv_gemm", g, call);
    case ConvGemmMath::tf32:
      return launch_forward<ForwardTensor<float>>("conv_gemm_tf32", g, call);
    case ConvGemmMath::bf16:
      return launch_forward<ForwardTensor<Bf16>>("conv_gemm_bf16", g, call);
  }
}

size_t conv_gemm_moments_workspace(const ConvGeometry& g) {
  return groups_of(g).partial_bytes<ColumnPart>(static_cast<int>(g.y_channels));
}

void conv_gemm_moments(const ConvGeometry& g, ConvGemmMath math, const ConvGemmCall& call) {
  switch (math) {
    case ConvGemmMath::cores:
      return launch_forward_moments<ForwardCores>("conv_gemm_moments", g, call);
    case ConvGemmMath::tf32:
      return launch_forward_moments<ForwardTensor<float>>("conv_gemm_tf32_moments", g, call);
    case ConvGemmMath::bf16:
      return launch_forward_moments<ForwardTensor<Bf16>>("conv_gemm_bf16_moments", g, call);
  }
}

}  // namespace adjoint::cuda
