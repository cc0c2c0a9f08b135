#include <algorithm>
#include <limits>

#include "runtime/cuda/device/column_moments.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/gemm_tensor.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_sizes.h"

namespace adjoint::cuda {
namespace {

// Where in k a copy is: a channel, within the taps of a rectangle, row by row.
struct TapCursor {
  int row, column, channel;
  int first_column, end_column, channels;

  // `at` counts the channels of all taps.
  __device__ TapCursor(int first_row, int first, int end, int channel_count, int at)
      : first_column(first), end_column(end), channels(channel_count) {
    const int tap = at / channels, columns = end - first;
    channel = at - tap * channels;
    row = first_row + tap / columns;
    column = first + tap % columns;
  }
  // By `step`, past `kTaps` taps at most.
  template <int kTaps>
  __device__ void advance(int step) {
    channel += step;
    for (int i = 0; i < kTaps; ++i) {
      if (channel < channels) return;
      channel -= channels;
      if (++column < end_column) continue;
      column = first_column;
      ++row;
    }
  }
};

// y: the rows are pixels of y, the columns its channels; k are the taps and channels of x.
using ForwardCores =
    GemmTile<CoreProduct<TileSide<8, 8, Order::k_inner>, TileSide<12, 4, Order::k_inner>>, 8, 2>;
template <typename T>
using ForwardTensor =
    GemmTile<TensorProduct<T, TensorSide<T, 64, Order::k_inner>, TensorSide<T, 48, Order::k_inner>>,
             8, 3>;

template <typename T>
__device__ void store(T* to, const Pack<float, 2>& values) {
  store_pack(to, Pack<T, 2>{{narrow<T>(values[0]), narrow<T>(values[1])}});
}
__device__ inline void store(float* to, const Pack<float, 4>& values) { store_pack(to, values); }

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
  typename Tile::Sums sums = {};
  add_products<Tile>(x, filter, s, sums);
  const int pixels = s.pixels();
  Tile::add_warps(sums, [&](int row, int column, typename Tile::Vector values) {
    const int pixel = blockIdx.x * Tile::Rows::kSize + row;
    const int channel = blockIdx.y * Tile::Columns::kSize + column;
    if (pixel < pixels && channel < s.o) store(y + (pixel * s.o + channel), values);
  });
}

// What is stored, in f32.
template <typename T, int kVector>
__device__ inline Pack<float, kVector> rounded(Pack<float, kVector> values) {
  for (int k = 0; k < kVector; ++k) values[k] = widen(narrow<T>(values[k]));
  return values;
}

// And the moments of y's channels.
template <typename Tile, typename T = typename Tile::Element>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    forward_moments(const T* x, const T* filter, T* y, const __grid_constant__ ConvSizes s,
                    ColumnGroups groups, const __grid_constant__ ColumnMoments moments) {
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
  join_columns(block, groups, moments, part, Tile::kTileBytes);
}

// dx: the rows of a tile are images, all at one pixel of x, the columns channels of x; k are the
// channels of y, at the taps through which the pixel is seen: none is outside for a part of a tile.
using InputCores =
    GemmTile<CoreProduct<TileSide<8, 8, Order::k_inner>, TileSide<6, 4, Order::k_outer>>, 16, 2>;
template <typename T>
using InputTensor =
    GemmTile<TensorProduct<T, TensorSide<T, 64, Order::k_inner>, TensorSide<T, 24, Order::k_outer>>,
             8, 3>;
constexpr int kImages = InputCores::Rows::kSize;  // of a tile

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
__device__ int outwards(int rank, int size) {
  const int middle = (size - 1) / 2;
  return rank % 2 == 0 ? middle - rank / 2 : middle + (rank + 1) / 2;
}

// The block's tile. Pixels in the middle are seen by most taps: they begin first.
template <typename Tile>
struct InputPlace {
  int image, channel, row, column;
  __device__ explicit InputPlace(const ConvSizes& s) {
    const int image_tiles = tiles_of(s.batch, Tile::Rows::kSize);
    const int channel_tiles = tiles_of(s.c, Tile::Columns::kSize);
    const int tile = blockIdx.x / image_tiles, pixel = tile / channel_tiles;
    image = static_cast<int>(blockIdx.x % image_tiles) * Tile::Rows::kSize;
    channel = tile % channel_tiles * Tile::Columns::kSize;
    row = outwards(pixel / s.width.x, s.height.x);
    column = outwards(pixel % s.width.x, s.width.x);
  }
};

// Pairs of lanes copy the two packs of dy, single lanes packs of the filter's channels. All are at
// one tap.
template <typename Tile>
struct InputCopy {
  using Rows = typename Tile::Rows;
  using Columns = typename Tile::Columns;
  using T = typename Tile::Element;
  static constexpr int kRows = Rows::kSize / 16, kFilterPacks = Columns::kSize / Tile::kPack;
  static constexpr int kColumns = (Columns::kPacks + 31) / 32;

  const ConvSizes& s;
  const T *dy, *filter;
  int lane, top, left;
  int row_at[kRows], column_at[kColumns];
  bool has_column[kColumns];
  TapCursor cursor;

  __device__ static int steps_of_tap(const ConvSizes& s) { return tiles_of(s.o, Tile::kStep); }

  __device__ InputCopy(const T* dy_, const T* filter_, const ConvSizes& s_, InputPlace<Tile> place,
                       Viewers rows, Viewers columns, int step)
      : s(s_),
        dy(dy_),
        filter(filter_),
        lane(threadIdx.x % 32),
        top(place.row + s_.height.pad),
        left(place.column + s_.width.pad),
        cursor(rows.first, columns.first, columns.end, steps_of_tap(s_) * Tile::kStep,
               step * Tile::kStep) {
    for (int i = 0; i < kRows; ++i) {
      const int image = place.image + Rows::place_of_slot(lane / 2 + 16 * i);
      row_at[i] = min(image, s.batch - 1) * s.height.y * s.width.y * s.o + Tile::kPack * (lane % 2);
    }
    for (int i = 0; i < kColumns; ++i) {
      const int number = lane + 32 * i, k = number / kFilterPacks;
      const int channel = place.channel + number % kFilterPacks * Tile::kPack;
      column_at[i] = k * s.depth() + channel;
      has_column[i] = channel < s.c;
    }
  }

  __device__ void operator()(typename Tile::Stage stage) {
    const int pixel = (top - cursor.row * s.height.dilation) * s.width.y + left -
                      cursor.column * s.width.dilation;
    const int dy_step = pixel * s.o + cursor.channel;
    const int filter_step =
        cursor.channel * s.depth() + (cursor.row * s.width.filter + cursor.column) * s.c;
    const auto rows = stage.rows(), columns = stage.columns();
    const bool has_channel = cursor.channel + Tile::kPack * (lane % 2) < s.o;
    for (int i = 0; i < kRows; ++i) {
      begin_copy(&rows[lane % 2 * Rows::kPlane + lane / 2 + 16 * i], dy + (row_at[i] + dy_step),
                 has_channel);
    }
    for (int i = 0; i < kColumns; ++i) {
      const int number = lane + 32 * i;
      if (number >= Columns::kPacks) continue;
      begin_copy(&columns[number], filter + (column_at[i] + filter_step),
                 has_column[i] && cursor.channel + number / kFilterPacks < s.o);
    }
    cursor.advance<1>(Tile::kStep);
  }
};

// 16 warps on a multiprocessor.
template <typename Tile, typename T = typename Tile::Element>
__global__ void __launch_bounds__(Tile::kThreads, 512 / Tile::kThreads)
    input_grad(const T* dy, const T* filter, T* dx, const __grid_constant__ ConvSizes s) {
  const InputPlace<Tile> place(s);
  const Viewers rows(s.height, place.row), columns(s.width, place.column);
  const int steps = rows.count() * columns.count() * InputCopy<Tile>::steps_of_tap(s);
  typename Tile::Sums sums = {};
  if (steps > 0) {
    const GemmShare share(threadIdx.x / 32, Tile::kWarps, steps);
    InputCopy<Tile> copy(dy, filter, s, place, rows, columns, share.first);
    Tile::accumulate(copy, share.end - share.first, sums);
  }
  Tile::add_warps(sums, [&](int row, int column, typename Tile::Vector values) {
    const int image = place.image + row, channel = place.channel + column;
    if (image >= s.batch || channel >= s.c) return;
    const int pixel = (image * s.height.x + place.row) * s.width.x + place.column;
    store(dx + (pixel * s.c + channel), values);
  });
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
  static_assert(Tile::kTileBytes + column_scratch_bytes(Tile::kThreads) <= Tile::kSharedBytes);
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

template <typename Tile>
void launch_input_grad(const char* name, const ConvGeometry& g, const ConvGemmCall& call) {
  using T = typename Tile::Element;
  static_assert(Tile::Rows::kSize == kImages);
  const int64_t pixels = g.axes[0].x * g.axes[1].x;
  launch(name, input_grad<Tile>,
         {.grid = dim3(tiles_of(g.batch, kImages) * tiles_of(g.x_channels, Tile::Columns::kSize) *
                       pixels),
          .block = dim3(Tile::kThreads),
          .shared_bytes = Tile::kSharedBytes},
         call.stream, static_cast<const T*>(call.y), static_cast<const T*>(call.filter),
         static_cast<T*>(call.result), ConvSizes(g));
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

bool fits_conv_gemm_input_grad(const ConvGeometry& g, ConvGemmMath math) {
  return fits_conv_gemm(g, math) && g.axes[0].stride == 1 && g.axes[1].stride == 1 &&
         g.batch >= kImages / 2;
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
  return groups_of(g).partial_bytes(static_cast<int>(g.y_channels));
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

void conv_gemm_input_grad(const ConvGeometry& g, ConvGemmMath math, const ConvGemmCall& call) {
  switch (math) {
    case ConvGemmMath::cores:
      return launch_input_grad<InputCores>("conv_gemm_input_grad", g, call);
    case ConvGemmMath::tf32:
      return launch_input_grad<InputTensor<float>>("conv_gemm_input_grad_tf32", g, call);
    case ConvGemmMath::bf16:
      return launch_input_grad<InputTensor<Bf16>>("conv_gemm_input_grad_bf16", g, call);
  }
}

}  // namespace adjoint::cuda
