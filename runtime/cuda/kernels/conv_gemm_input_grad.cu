#include "runtime/cuda/device/column_join.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/gemm_tensor.h"
#include "runtime/cuda/kernels/batch_norm.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_gemm_copy.h"
#include "runtime/cuda/kernels/conv_sizes.h"

namespace adjoint::cuda {
namespace {

// dx: the columns of a tile are channels of x; k are the channels of y, tap after tap.
using InputCores =
    GemmTile<CoreProduct<TileSide<8, 8, Order::k_inner>, TileSide<6, 4, Order::k_outer>>, 16, 2>;
template <typename T>
using InputTensor =
    GemmTile<TensorProduct<T, TensorSide<T, 64, Order::k_inner>, TensorSide<T, 24, Order::k_outer>>,
             8, 3>;
constexpr int kRows = InputCores::Rows::kSize;  // of a tile
constexpr int kColumns = InputCores::Columns::kSize;

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
      : ImageRows(s, blockIdx.x / tiles_of(s.batch, kRows), tiles_of(s.c, kColumns)) {}
  // Blocks that have the same channels.
  static int blocks(const ConvGeometry& g) {
    return static_cast<int>(tiles_of(g.batch, kRows) * g.axes[0].x * g.axes[1].x);
  }
  static dim3 grid(const ConvGeometry& g) {
    return dim3(blocks(g) * tiles_of(g.x_channels, kColumns));
  }

  __device__ int block() const { return block_; }  // of those that have the same channels
  __device__ int first_channel() const { return channel_; }
  __device__ int taps() const { return rows_.count() * columns_.count(); }
  __device__ TapCursor cursor(int channels, int at) const {
    return {rows_.first, columns_.first, columns_.end, channels, at};
  }
  __device__ int count(const ConvSizes& s) const { return min(kRows, s.batch - image_); }
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
      : image_(static_cast<int>(blockIdx.x % tiles_of(s.batch, kRows)) * kRows),
        channel_(tile % channel_tiles * kColumns),
        block_(tile / channel_tiles * tiles_of(s.batch, kRows) + image_ / kRows),
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
      : first_(static_cast<int>(blockIdx.x) * kRows),
        taps_columns_(s.width.filter),
        taps_(s.taps()) {}
  static int blocks(const ConvGeometry& g) {
    return tiles_of(g.batch * g.axes[0].x * g.axes[1].x, kRows);
  }
  static dim3 grid(const ConvGeometry& g) {
    return dim3(blocks(g), tiles_of(g.x_channels, kColumns));
  }

  __device__ int block() const { return static_cast<int>(blockIdx.x); }
  __device__ int first_channel() const { return static_cast<int>(blockIdx.y) * kColumns; }
  __device__ int taps() const { return taps_; }
  __device__ TapCursor cursor(int channels, int at) const {
    return {0, 0, taps_columns_, channels, at};
  }
  __device__ int count(const ConvSizes& s) const {
    return min(kRows, s.batch * s.height.x * s.width.x - first_);
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

// Pairs of lanes copy the two packs of dy, single lanes packs of the filter's channels. All are at
// one tap.
template <typename Tile, typename Rows>
struct InputCopy {
  using Columns = typename Tile::Columns;
  using T = typename Tile::Element;
  static constexpr int kLaneRows = kRows / 16, kFilterPacks = kColumns / Tile::kPack;
  static constexpr int kLaneColumns = (Columns::kPacks + 31) / 32;

  const ConvSizes& s;
  const T *dy, *filter;
  int plane, slot, lane;
  typename Rows::template Sources<kLaneRows> sources;
  int column_at[kLaneColumns];
  bool has_column[kLaneColumns];
  TapCursor cursor;

  __device__ static int steps_of_tap(const ConvSizes& s) { return tiles_of(s.o, Tile::kStep); }

  __device__ InputCopy(const T* dy_, const T* filter_, const ConvSizes& s_, const Rows& rows,
                       int step)
      : s(s_),
        dy(dy_),
        filter(filter_),
        plane(threadIdx.x % 2),
        slot(threadIdx.x % 32 / 2),
        lane(threadIdx.x % 32),
        cursor(rows.cursor(steps_of_tap(s_) * Tile::kStep, step * Tile::kStep)) {
    for (int i = 0; i < kLaneRows; ++i) {
      sources.set(i, s, rows, Tile::Rows::place_of_slot(slot + 16 * i));
    }
    for (int i = 0; i < kLaneColumns; ++i) {
      const int number = lane + 32 * i, k = number / kFilterPacks;
      const int channel = rows.first_channel() + number % kFilterPacks * Tile::kPack;
      column_at[i] = k * s.depth() + channel;
      has_column[i] = channel < s.c;
    }
  }

  __device__ void operator()(typename Tile::Stage stage) {
    const int channel = cursor.channel + Tile::kPack * plane;
    const int filter_step =
        cursor.channel * s.depth() + (cursor.row * s.width.filter + cursor.column) * s.c;
    const auto rows = stage.rows(), columns = stage.columns();
    sources.move_to(s, cursor);
    for (int i = 0; i < kLaneRows; ++i) {
      const RowSource source = sources(i, s);
      begin_copy(&rows[plane * Tile::Rows::kPlane + slot + 16 * i], dy + (source.at + channel),
                 source.is_there && channel < s.o);
    }
    for (int i = 0; i < kLaneColumns; ++i) {
      const int number = lane + 32 * i;
      if (number >= Columns::kPacks) continue;
      begin_copy(&columns[number], filter + (column_at[i] + filter_step),
                 has_column[i] && cursor.channel + number / kFilterPacks < s.o);
    }
    cursor.template advance<1>(Tile::kStep);
  }
};

// Of the block's tile, the warp's share.
template <typename Tile, typename Rows, typename T = typename Tile::Element>
__device__ inline void add_products(const T* dy, const T* filter, const ConvSizes& s,
                                    const Rows& rows, typename Tile::Sums& sums) {
  const int steps = rows.taps() * InputCopy<Tile, Rows>::steps_of_tap(s);
  if (steps == 0) return;
  const GemmShare share(threadIdx.x / 32, Tile::kWarps, steps);
  InputCopy<Tile, Rows> copy(dy, filter, s, rows, share.first);
  Tile::accumulate(copy, share.end - share.first, sums);
}

// 16 warps on a multiprocessor.
template <typename Tile, typename Rows, typename T = typename Tile::Element>
__global__ void __launch_bounds__(Tile::kThreads, 512 / Tile::kThreads)
    input_grad(const T* dy, const T* filter, T* dx, const __grid_constant__ ConvSizes s) {
  begin_kernel();
  const Rows rows(s);
  typename Tile::Sums sums = {};
  add_products<Tile>(dy, filter, s, rows, sums);
  Tile::add_warps(sums, [&](int row, int column, typename Tile::Vector values) {
    const int pixel = rows.pixel(s, row), channel = rows.first_channel() + column;
    if (pixel >= 0 && channel < s.c) store(dx + (pixel * s.c + channel), values);
  });
}

// Of a channel, the sums over a slice of the tile's rows, which are windows of batch norm's x. What
// several rows read is under way at once.
template <int kTileRow, int kSide, typename Rows, typename T>
__device__ inline NormSums sum_windows(const Shared<float>& tile, const ColumnSlice& at,
                                       const ConvSizes& s, const Rows& rows, const NormWindows& w,
                                       const NormGradArguments<T, T, float>& a) {
  constexpr int kAtOnce = 4;
  const int channel = rows.first_channel() + at.channel, count = rows.count(s);
  const NormChannels<float, 1> k(channel, a.scale, a.offset, a.mean, a.variance, a.bias, a.epsilon);
  NormSums sums;
  for (int first = at.slice; first < count; first += kAtOnce * at.slices) {
    KnownWindow<T, 1, kSide> windows[kAtOnce];
    for (int i = 0; i < kAtOnce; ++i) {
      const int row = min(first + i * at.slices, count - 1);
      const int64_t pixel = first_pixel(w, rows.pixel(s, row));
      windows[i] = KnownWindow<T, 1, kSide>(w, a.x + pixel * s.c + channel, s.c);
    }
    for (int i = 0; i < kAtOnce; ++i) {
      const int row = first + i * at.slices;
      if (row >= count) break;
      sums.template add<true>(windows[i].winners(k), 0, tile[row * kTileRow + at.channel]);
    }
  }
  return sums;
}

// And the sums of batch norm's gradient behind it, whose dy this dx is.
template <typename Tile, typename Rows, int kSide, typename T = typename Tile::Element>
__global__ void __launch_bounds__(Tile::kThreads, 512 / Tile::kThreads)
    input_grad_sums(const T* dy, const T* filter, T* dx, const __grid_constant__ ConvSizes s,
                    const __grid_constant__ NormWindows windows, ColumnGroups groups,
                    NormSums* parts, unsigned* tickets,
                    const __grid_constant__ NormGradArguments<T, T, float> a) {
  begin_kernel();
  const Rows rows(s);
  typename Tile::Sums sums = {};
  add_products<Tile>(dy, filter, s, rows, sums);
  const Shared<float> tile =
      Tile::add_warps_and_keep(sums, [&](int row, int column, typename Tile::Vector values) {
        const int pixel = rows.pixel(s, row), channel = rows.first_channel() + column;
        if (pixel >= 0 && channel < s.c) store(dx + (pixel * s.c + channel), values);
        return rounded<T>(values);
      });
  const int channels = min(kColumns, s.c - rows.first_channel());
  const ColumnSlice at(channels);
  NormSums own;
  if (at.is_inside()) own = sum_windows<Tile::kTileRow, kSide>(tile, at, s, rows, windows, a);
  const ColumnBlock block = {
      .number = rows.block(),
      .first = rows.first_channel(),
      .channels = channels,
      .all = s.c,
      .tickets = tickets + rows.first_channel() / kColumns * groups.tickets()};
  join_columns(
      block, groups, parts, own, Tile::kTileBytes,
      [&](int64_t channel, const NormSums& total) { a.store(channel, total, windows.pixels); });
}

template <typename Tile, typename Rows>
void launch_input_grad(const char* name, const ConvGeometry& g, const ConvGemmCall& call) {
  using T = typename Tile::Element;
  static_assert(Tile::Rows::kSize == kRows && Tile::Columns::kSize == kColumns);
  launch(name, input_grad<Tile, Rows>,
         {.grid = Rows::grid(g), .block = dim3(Tile::kThreads), .shared_bytes = Tile::kSharedBytes},
         call.stream, static_cast<const T*>(call.y), static_cast<const T*>(call.filter),
         static_cast<T*>(call.result), ConvSizes(g));
}

template <typename Rows>
ColumnGroups groups_of(const ConvGeometry& g) {
  return {Rows::blocks(g), tiles_of(g.x_channels, kColumns), kTickets};
}

template <typename Tile, typename Rows, int kSide>
void launch_input_grad_sums(const char* name, const ConvGeometry& g, const ConvGemmCall& call,
                            const ConvNormCall& norm) {
  using T = typename Tile::Element;
  using Arguments = NormGradArguments<T, T, float>;
  static_assert(Tile::kTileBytes + column_scratch_bytes<NormSums>(Tile::kThreads) <=
                Tile::kSharedBytes);
  const Arguments arguments(norm.call, true, g.x_channels, static_cast<float>(norm.epsilon));
  auto* const parts =
      static_cast<std::byte*>(norm.call.workspace) + Arguments::vector_bytes(g.x_channels);
  launch(name, input_grad_sums<Tile, Rows, kSide>,
         {.grid = Rows::grid(g), .block = dim3(Tile::kThreads), .shared_bytes = Tile::kSharedBytes},
         call.stream, static_cast<const T*>(call.y), static_cast<const T*>(call.filter),
         static_cast<T*>(call.result), ConvSizes(g), norm.windows, groups_of<Rows>(g),
         reinterpret_cast<NormSums*>(parts), call.tickets, arguments);
}

template <typename Rows, int kSide>
void launch_input_grad_sums(const ConvGeometry& g, ConvGemmMath math, const ConvGemmCall& call,
                            const ConvNormCall& norm) {
  switch (math) {
    case ConvGemmMath::cores:
      return launch_input_grad_sums<InputCores, Rows, kSide>("conv_gemm_input_grad_sums", g, call,
                                                             norm);
    case ConvGemmMath::tf32:
      return launch_input_grad_sums<InputTensor<float>, Rows, kSide>(
          "conv_gemm_input_grad_tf32_sums", g, call, norm);
    case ConvGemmMath::bf16:
      return launch_input_grad_sums<InputTensor<Bf16>, Rows, kSide>(
          "conv_gemm_input_grad_bf16_sums", g, call, norm);
  }
}

template <typename Rows>
void launch_input_grad(const ConvGeometry& g, ConvGemmMath math, const ConvGemmCall& call) {
  switch (math) {
    case ConvGemmMath::cores:
      return launch_input_grad<InputCores, Rows>("conv_gemm_input_grad", g, call);
    case ConvGemmMath::tf32:
      return launch_input_grad<InputTensor<float>, Rows>("conv_gemm_input_grad_tf32", g, call);
    case ConvGemmMath::bf16:
      return launch_input_grad<InputTensor<Bf16>, Rows>("conv_gemm_input_grad_bf16", g, call);
  }
}

}  // namespace

bool fits_conv_gemm_input_grad(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows) {
  return fits_conv_gemm(g, math) && g.axes[0].stride == 1 && g.axes[1].stride == 1 &&
         (rows == ConvGemmRows::pixels || g.batch >= kRows / 2);
}

void conv_gemm_input_grad(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
                          const ConvGemmCall& call) {
  if (rows == ConvGemmRows::images) return launch_input_grad<ImageRows>(g, math, call);
  launch_input_grad<PixelRows>(g, math, call);
}

bool fits_conv_gemm_input_grad_sums(const ConvGeometry& g, const NormWindows& windows) {
  const bool is_known = windows.known_side() == 2 || windows.windows == windows.pixels;
  return is_known && ColumnGroups::fit(tiles_of(g.x_channels, kColumns), kTickets);
}

size_t conv_gemm_input_grad_sums_workspace(const ConvGeometry& g, ConvGemmRows rows) {
  const ColumnGroups groups =
      rows == ConvGemmRows::images ? groups_of<ImageRows>(g) : groups_of<PixelRows>(g);
  return NormGradArguments<float, float, float>::vector_bytes(g.x_channels) +
         groups.partial_bytes<NormSums>(g.x_channels);
}

void conv_gemm_input_grad_sums(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
                               const ConvGemmCall& call, const ConvNormCall& norm) {
  const auto start = [&]<typename Rows>() {
    if (norm.windows.known_side() == 2) {
      return launch_input_grad_sums<Rows, 2>(g, math, call, norm);
    }
    launch_input_grad_sums<Rows, 1>(g, math, call, norm);
  };
  if (rows == ConvGemmRows::images) return start.template operator()<ImageRows>();
  start.template operator()<PixelRows>();
}

}  // namespace adjoint::cuda
