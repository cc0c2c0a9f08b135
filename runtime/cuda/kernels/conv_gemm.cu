#include <algorithm>
#include <limits>

#include "runtime/cuda/device/gemm_tile.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_sizes.h"

namespace adjoint::cuda {
namespace {

// The steps of k: channels, within the taps of a rectangle, row by row.
struct TapCursor {
  int row, column, channel;
  int first_column, end_column, channels;

  __device__ TapCursor(int first_row, int first, int end, int channel_count, int step)
      : first_column(first), end_column(end), channels(channel_count) {
    const int steps = steps_of(channels), tap = step / steps, columns = end - first;
    channel = step % steps * kGemmStep;
    row = first_row + tap / columns;
    column = first + tap % columns;
  }
  __device__ static int steps_of(int channels) { return (channels + kGemmStep - 1) / kGemmStep; }
  __device__ void advance() {
    channel += kGemmStep;
    if (channel < channels) return;
    channel = 0;
    if (++column < end_column) return;
    column = first_column;
    ++row;
  }
};

// y: the rows are pixels of y, the columns its channels; k are the taps and channels of x.
using ForwardTile = GemmTile<TileSide<8, 8, Order::k_inner>, TileSide<12, 4, Order::k_inner>, 8>;

// Pairs of lanes copy the two quads of a step: 16 rows at a time.
struct ForwardCopy {
  using Rows = ForwardTile::Rows;
  using Columns = ForwardTile::Columns;
  static constexpr int kRows = Rows::kSize / 16, kColumns = Columns::kSize / 16;

  const ConvSizes& s;
  const float *x, *filter;
  int quad, slot;
  int row_at[kRows], top[kRows], left[kRows], column_at[kColumns];
  TapCursor cursor;

  __device__ ForwardCopy(const float* x_, const float* filter_, const ConvSizes& s_, int step)
      : s(s_),
        x(x_),
        filter(filter_),
        quad(threadIdx.x % 2),
        slot(threadIdx.x % 32 / 2),
        cursor(0, 0, s_.width.filter, s_.c, step) {
    const int pixels = s.pixels();
    for (int i = 0; i < kRows; ++i) {
      const int place = blockIdx.x * Rows::kSize + Rows::place_of_slot(slot + 16 * i);
      const int pixel = min(place, pixels - 1);  // those past the end are not stored
      const int image_row = pixel / s.width.y;
      const int image = image_row / s.height.y;
      top[i] = (image_row - image * s.height.y) * s.height.stride - s.height.pad;
      left[i] = (pixel - image_row * s.width.y) * s.width.stride - s.width.pad;
      row_at[i] = ((image * s.height.x + top[i]) * s.width.x + left[i]) * s.c + 4 * quad;
    }
    for (int i = 0; i < kColumns; ++i) {
      const int place = blockIdx.y * Columns::kSize + Columns::place_of_slot(slot + 16 * i);
      column_at[i] = min(place, s.o - 1) * s.depth() + 4 * quad;
    }
  }

  __device__ void operator()(ForwardTile::Stage stage) {
    const int down = cursor.row * s.height.dilation, right = cursor.column * s.width.dilation;
    const int x_step = (down * s.width.x + right) * s.c + cursor.channel;
    const int filter_step = (cursor.row * s.width.filter + cursor.column) * s.c + cursor.channel;
    const bool has_channel = cursor.channel + 4 * quad < s.c;
    const Shared<Quad> rows = stage.rows(), columns = stage.columns();
    for (int i = 0; i < kRows; ++i) {
      const bool inside =
          static_cast<unsigned>(top[i] + down) < static_cast<unsigned>(s.height.x) &&
          static_cast<unsigned>(left[i] + right) < static_cast<unsigned>(s.width.x);
      begin_copy(&rows[quad * Rows::kPlane + slot + 16 * i], x + (row_at[i] + x_step),
                 has_channel && inside);
    }
    for (int i = 0; i < kColumns; ++i) {
      begin_copy(&columns[quad * Columns::kPlane + slot + 16 * i],
                 filter + (column_at[i] + filter_step), has_channel);
    }
    cursor.advance();
  }
};

__global__ void __launch_bounds__(ForwardTile::kThreads, 1)
    forward(const float* x, const float* filter, float* y, const __grid_constant__ ConvSizes s) {
  const GemmShare share(threadIdx.x / 32, ForwardTile::kWarps, s.taps() * TapCursor::steps_of(s.c));
  ForwardCopy copy(x, filter, s, share.first);
  ForwardTile::Sums sums = {};
  ForwardTile::accumulate(copy, share.end - share.first, sums);
  const int pixels = s.pixels();
  ForwardTile::add_warps(sums, [&](int row, int column, ForwardTile::Vector values) {
    const int pixel = blockIdx.x * ForwardTile::Rows::kSize + row;
    const int channel = blockIdx.y * ForwardTile::Columns::kSize + column;
    if (pixel < pixels && channel < s.o) store_pack(y + (pixel * s.o + channel), values);
  });
}

// dx: the rows of a tile are images, all at one pixel of x, the columns channels of x; k are the
// channels of y, at the taps through which the pixel is seen: none is outside for a part of a tile.
using InputTile = GemmTile<TileSide<8, 8, Order::k_inner>, TileSide<6, 4, Order::k_outer>, 16>;

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
struct InputPlace {
  int image, channel, row, column;
  __device__ explicit InputPlace(const ConvSizes& s) {
    const int image_tiles = (s.batch + InputTile::Rows::kSize - 1) / InputTile::Rows::kSize;
    const int channel_tiles = (s.c + InputTile::Columns::kSize - 1) / InputTile::Columns::kSize;
    const int tile = blockIdx.x / image_tiles, pixel = tile / channel_tiles;
    image = static_cast<int>(blockIdx.x % image_tiles) * InputTile::Rows::kSize;
    channel = tile % channel_tiles * InputTile::Columns::kSize;
    row = outwards(pixel / s.width.x, s.height.x);
    column = outwards(pixel % s.width.x, s.width.x);
  }
};

// Pairs of lanes copy the two quads of dy, single lanes quads of the filter's channels.
struct InputCopy {
  using Rows = InputTile::Rows;
  using Columns = InputTile::Columns;
  static constexpr int kRows = Rows::kSize / 16, kFilterQuads = Columns::kSize / 4;
  static constexpr int kColumns = (Columns::kQuads + 31) / 32;

  const ConvSizes& s;
  const float *dy, *filter;
  int lane, top, left;
  int row_at[kRows], column_at[kColumns];
  bool has_column[kColumns];
  TapCursor cursor;

  __device__ InputCopy(const float* dy_, const float* filter_, const ConvSizes& s_,
                       InputPlace place, Viewers rows, Viewers columns, int step)
      : s(s_),
        dy(dy_),
        filter(filter_),
        lane(threadIdx.x % 32),
        top(place.row + s_.height.pad),
        left(place.column + s_.width.pad),
        cursor(rows.first, columns.first, columns.end, s_.o, step) {
    for (int i = 0; i < kRows; ++i) {
      const int image = place.image + Rows::place_of_slot(lane / 2 + 16 * i);
      row_at[i] = min(image, s.batch - 1) * s.height.y * s.width.y * s.o + 4 * (lane % 2);
    }
    for (int i = 0; i < kColumns; ++i) {
      const int number = lane + 32 * i, k = number / kFilterQuads;
      const int channel = place.channel + number % kFilterQuads * 4;
      column_at[i] = k * s.depth() + channel;
      has_column[i] = channel < s.c;
    }
  }

  __device__ void operator()(InputTile::Stage stage) {
    const int pixel = (top - cursor.row * s.height.dilation) * s.width.y + left -
                      cursor.column * s.width.dilation;
    const int dy_step = pixel * s.o + cursor.channel;
    const int filter_step =
        cursor.channel * s.depth() + (cursor.row * s.width.filter + cursor.column) * s.c;
    const Shared<Quad> rows = stage.rows(), columns = stage.columns();
    const bool has_channel = cursor.channel + 4 * (lane % 2) < s.o;
    for (int i = 0; i < kRows; ++i) {
      begin_copy(&rows[lane % 2 * Rows::kPlane + lane / 2 + 16 * i], dy + (row_at[i] + dy_step),
                 has_channel);
    }
    for (int i = 0; i < kColumns; ++i) {
      const int number = lane + 32 * i;
      if (number >= Columns::kQuads) continue;
      begin_copy(&columns[number], filter + (column_at[i] + filter_step),
                 has_column[i] && cursor.channel + number / kFilterQuads < s.o);
    }
    cursor.advance();
  }
};

__global__ void __launch_bounds__(InputTile::kThreads, 1)
    input_grad(const float* dy, const float* filter, float* dx,
               const __grid_constant__ ConvSizes s) {
  const InputPlace place(s);
  const Viewers rows(s.height, place.row), columns(s.width, place.column);
  const int steps = rows.count() * columns.count() * TapCursor::steps_of(s.o);
  InputTile::Sums sums = {};
  if (steps > 0) {
    const GemmShare share(threadIdx.x / 32, InputTile::kWarps, steps);
    InputCopy copy(dy, filter, s, place, rows, columns, share.first);
    InputTile::accumulate(copy, share.end - share.first, sums);
  }
  InputTile::add_warps(sums, [&](int row, int column, InputTile::Vector values) {
    const int image = place.image + row, channel = place.channel + column;
    if (image >= s.batch || channel >= s.c) return;
    const int pixel = (image * s.height.x + place.row) * s.width.x + place.column;
    store_pack(dx + (pixel * s.c + channel), values);
  });
}

}  // namespace

bool fits_conv_gemm(const ConvGeometry& g) {
  constexpr int64_t kMost = std::numeric_limits<int>::max() / 8;  // places a tile beyond fit an int
  const int64_t framed = g.batch * g.axes[0].span() * g.axes[1].span() * g.x_channels;
  const int64_t largest = std::max({framed, g.x_size(), g.y_size(), g.filter_size()});
  return g.groups == 1 && g.x_channels % 4 == 0 && g.y_channels % 4 == 0 && largest <= kMost &&
         std::min({g.x_size(), g.y_size(), g.filter_size()}) > 0 &&
         std::min(g.axes[0].pad, g.axes[1].pad) >= 0;
}

bool fits_conv_gemm_input_grad(const ConvGeometry& g) {
  return fits_conv_gemm(g) && g.axes[0].stride == 1 && g.axes[1].stride == 1 &&
         g.batch >= InputTile::Rows::kSize / 2;
}

void conv_gemm(const ConvGeometry& g, const ConvGemmCall& call) {
  const int64_t pixels = g.y_size() / g.y_channels;
  launch("conv_gemm", forward,
         {.grid = dim3(tiles_of(pixels, ForwardTile::Rows::kSize),
                       tiles_of(g.y_channels, ForwardTile::Columns::kSize)),
          .block = dim3(ForwardTile::kThreads),
          .shared_bytes = ForwardTile::kSharedBytes},
         call.stream, call.x, call.filter, call.result, ConvSizes(g));
}

void conv_gemm_input_grad(const ConvGeometry& g, const ConvGemmCall& call) {
  const int64_t pixels = g.axes[0].x * g.axes[1].x;
  launch("conv_gemm_input_grad", input_grad,
         {.grid = dim3(tiles_of(g.batch, InputTile::Rows::kSize) *
                       tiles_of(g.x_channels, InputTile::Columns::kSize) * pixels),
          .block = dim3(InputTile::kThreads),
          .shared_bytes = InputTile::kSharedBytes},
         call.stream, call.y, call.filter, call.result, ConvSizes(g));
}

}  // namespace adjoint::cuda
