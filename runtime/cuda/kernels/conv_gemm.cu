#include <algorithm>
#include <limits>
#include <type_traits>

#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_gemm_forward.h"

namespace adjoint::cuda {
namespace {

using ForwardCores =
    GemmTile<CoreProduct<TileSide<8, 8, Order::k_inner>, TileSide<12, 4, Order::k_inner>>, 8, 2>;
template <typename T>
using ForwardTensor = GemmTile<ForwardProduct<T>, 8, 3>;

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
template <typename Tile, typename Rows, typename T = typename Tile::Element>
__device__ inline void add_products(const T* x, const T* filter, const ConvSizes& s,
                                    typename Tile::Sums& sums) {
  if constexpr (std::is_same_v<Rows, ForwardImage>) {
    const auto image = ResidentImage<T>::of_x(s);
    copy_image(x, image, Tile::kThreads);
    copy_filters(filter, s, image, Tile::kThreads);
    end_copies();
    add_resident_products<Tile>(s, image, sums);
  } else {
    const GemmShare share(threadIdx.x / 32, Tile::kWarps, tiles_of(s.depth(), Tile::kStep));
    ForwardCopy<Tile> copy(x, filter, s, share.first);
    Tile::accumulate(copy, share.end - share.first, sums);
  }
}

template <typename Tile, typename Rows, typename T = typename Tile::Element>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    forward(const T* x, const T* filter, T* y, const __grid_constant__ ConvSizes s) {
  begin_kernel();
  const Rows rows(s);
  typename Tile::Sums sums = {};
  add_products<Tile, Rows>(x, filter, s, sums);
  Tile::add_warps(sums, [&](int row, int column, typename Tile::Vector values) {
    const int channel = blockIdx.y * kForwardColumns + column;
    if (row < rows.count && channel < s.o) {
      store(y + ((rows.first + row) * s.o + channel), values);
    }
  });
}

// And the moments of y's channels.
template <typename Tile, typename Rows, typename T = typename Tile::Element>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    forward_moments(const T* x, const T* filter, T* y, const __grid_constant__ ConvSizes s,
                    ColumnGroups groups, const __grid_constant__ ColumnMoments moments) {
  begin_kernel();
  typename Tile::Sums sums = {};
  add_products<Tile, Rows>(x, filter, s, sums);
  store_with_moments<Tile>(sums, y, s, Rows(s), groups, moments);
}

// Calls body<Tile, Rows>().
template <typename Body>
void visit_tile(ConvGemmMath math, ConvGemmRows rows, Body&& body) {
  const auto on_tensor_cores = [&]<typename T>() {
    if (rows == ConvGemmRows::resident) {
      return body.template operator()<ForwardResident<T>, ForwardImage>();
    }
    body.template operator()<ForwardTensor<T>, ForwardPixels>();
  };
  switch (math) {
    case ConvGemmMath::cores:
      return body.template operator()<ForwardCores, ForwardPixels>();
    case ConvGemmMath::tf32:
      return on_tensor_cores.template operator()<float>();
    case ConvGemmMath::bf16:
      return on_tensor_cores.template operator()<Bf16>();
  }
}

// By ConvGemmMath.
constexpr const char* kNames[] = {"conv_gemm", "conv_gemm_tf32", "conv_gemm_bf16"};
constexpr const char* kMomentsNames[] = {"conv_gemm_moments", "conv_gemm_tf32_moments",
                                         "conv_gemm_bf16_moments"};

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

bool fits_conv_gemm_forward(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
                            size_t shared_bytes) {
  if (!fits_conv_gemm(g, math)) return false;
  if (rows != ConvGemmRows::resident) return rows == ConvGemmRows::pixels;
  if (math == ConvGemmMath::cores || !ForwardImage::fit(g)) return false;
  const auto fits = [&]<typename T>() {
    return ForwardImage::shared_bytes<ForwardResident<T>>(ConvSizes(g)) <= shared_bytes;
  };
  return math == ConvGemmMath::tf32 ? fits.operator()<float>() : fits.operator()<Bf16>();
}

bool fits_conv_gemm_moments(const ConvGeometry& g, ConvGemmMath math) {
  return fits_conv_gemm(g, math) &&
         ColumnGroups::fit(tiles_of(g.y_channels, kForwardColumns), kTickets);
}

void conv_gemm(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
               const ConvGemmCall& call) {
  visit_tile(math, rows, [&]<typename Tile, typename Rows>() {
    using T = typename Tile::Element;
    launch(kNames[static_cast<int>(math)], forward<Tile, Rows>, shape_of<Tile, Rows>(g),
           call.stream, static_cast<const T*>(call.x), static_cast<const T*>(call.filter),
           static_cast<T*>(call.result), ConvSizes(g));
  });
}

size_t conv_gemm_moments_workspace(const ConvGeometry& g, ConvGemmRows rows) {
  const ColumnGroups groups =
      rows == ConvGemmRows::resident ? groups_of<ForwardImage>(g) : groups_of<ForwardPixels>(g);
  return groups.partial_bytes<ColumnPart>(static_cast<int>(g.y_channels));
}

void conv_gemm_moments(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
                       const ConvGemmCall& call) {
  visit_tile(math, rows, [&]<typename Tile, typename Rows>() {
    using T = typename Tile::Element;
    launch(kMomentsNames[static_cast<int>(math)], forward_moments<Tile, Rows>,
           shape_of<Tile, Rows>(g), call.stream, static_cast<const T*>(call.x),
           static_cast<const T*>(call.filter), static_cast<T*>(call.result), ConvSizes(g),
           groups_of<Rows>(g), moments_of(call));
  });
}

}  // namespace adjoint::cuda
