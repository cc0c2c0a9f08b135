#include <type_traits>

#include "runtime/cuda/device/column_join.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/gemm_tensor.h"
#include "runtime/cuda/kernels/batch_norm_grad.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_gemm_copy.h"
#include "runtime/cuda/kernels/conv_gemm_resident_grad.h"
#include "runtime/cuda/kernels/conv_gemm_rows.h"
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
static_assert(InputCores::Rows::kSize == kInputRows && InputCores::Columns::kSize == kInputColumns);

// Pairs of lanes copy the two packs of dy, single lanes packs of the filter's channels. All are at
// one tap.
template <typename Tile, typename Rows>
struct InputCopy {
  using Columns = typename Tile::Columns;
  using T = typename Tile::Element;
  static constexpr int kLaneRows = kInputRows / 16, kFilterPacks = kInputColumns / Tile::kPack;
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
  if constexpr (std::is_same_v<Rows, ResidentRows>) {
    add_resident_products<Tile>(dy, filter, s, rows, sums);
  } else {
    const int steps = rows.taps() * InputCopy<Tile, Rows>::steps_of_tap(s);
    if (steps == 0) return;
    const GemmShare share(threadIdx.x / 32, Tile::kWarps, steps);
    InputCopy<Tile, Rows> copy(dy, filter, s, rows, share.first);
    Tile::accumulate(copy, share.end - share.first, sums);
  }
}

template <typename Tile, typename Rows, typename T = typename Tile::Element>
__global__ void __launch_bounds__(Tile::kThreads, Rows::kThreads / Tile::kThreads)
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
__global__ void __launch_bounds__(Tile::kThreads, Rows::kThreads / Tile::kThreads)
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
  const int channels = min(kInputColumns, s.c - rows.first_channel());
  const ColumnSlice at(channels);
  NormSums own;
  if (at.is_inside()) own = sum_windows<Tile::kTileRow, kSide>(tile, at, s, rows, windows, a);
  const ColumnBlock block = {
      .number = rows.block(),
      .first = rows.first_channel(),
      .channels = channels,
      .all = s.c,
      .tickets = tickets + rows.first_channel() / kInputColumns * groups.tickets()};
  join_columns(
      block, groups, parts, own, Tile::kTileBytes,
      [&](int64_t channel, const NormSums& total) { a.store(channel, total, windows.pixels); });
}

// Calls body<Tile, Rows>().
template <typename Body>
void visit_tile(ConvGemmMath math, ConvGemmRows rows, Body&& body) {
  const auto copied = [&]<typename Tile>() {
    if (rows == ConvGemmRows::images) return body.template operator()<Tile, ImageRows>();
    body.template operator()<Tile, PixelRows>();
  };
  const auto on_tensor_cores = [&]<typename T>() {
    if (rows != ConvGemmRows::resident) return copied.template operator()<InputTensor<T>>();
    body.template operator()<ResidentTile<T>, ResidentRows>();
  };
  switch (math) {
    case ConvGemmMath::cores:
      return copied.template operator()<InputCores>();
    case ConvGemmMath::tf32:
      return on_tensor_cores.template operator()<float>();
    case ConvGemmMath::bf16:
      return on_tensor_cores.template operator()<Bf16>();
  }
}

template <typename Tile, typename Rows>
LaunchShape shape_of(const ConvGeometry& g) {
  return {.grid = Rows::grid(g),
          .block = dim3(Tile::kThreads),
          .shared_bytes = Rows::template shared_bytes<Tile>(ConvSizes(g))};
}

template <typename Rows>
ColumnGroups groups_of(const ConvGeometry& g) {
  return {Rows::blocks(g), tiles_of(g.x_channels, kInputColumns), kTickets};
}
ColumnGroups groups_of(const ConvGeometry& g, ConvGemmRows rows) {
  if (rows == ConvGemmRows::images) return groups_of<ImageRows>(g);
  return rows == ConvGemmRows::pixels ? groups_of<PixelRows>(g) : groups_of<ResidentRows>(g);
}

template <typename Tile, typename Rows, int kSide>
void launch_sums(const char* name, const ConvGeometry& g, const ConvGemmCall& call,
                 const ConvNormCall& norm) {
  using T = typename Tile::Element;
  using Arguments = NormGradArguments<T, T, float>;
  static_assert(Tile::kTileBytes + column_scratch_bytes<NormSums>(Tile::kThreads) <=
                Tile::kSumBytes);
  const Arguments arguments(norm.call, true, g.x_channels, static_cast<float>(norm.epsilon));
  auto* const parts =
      static_cast<std::byte*>(norm.call.workspace) + Arguments::vector_bytes(g.x_channels);
  launch(name, input_grad_sums<Tile, Rows, kSide>, shape_of<Tile, Rows>(g), call.stream,
         static_cast<const T*>(call.y), static_cast<const T*>(call.filter),
         static_cast<T*>(call.result), ConvSizes(g), norm.windows, groups_of<Rows>(g),
         reinterpret_cast<NormSums*>(parts), call.tickets, arguments);
}

// By ConvGemmMath.
constexpr const char* kNames[] = {"conv_gemm_input_grad", "conv_gemm_input_grad_tf32",
                                  "conv_gemm_input_grad_bf16"};
constexpr const char* kSumsNames[] = {"conv_gemm_input_grad_sums", "conv_gemm_input_grad_tf32_sums",
                                      "conv_gemm_input_grad_bf16_sums"};

}  // namespace

bool fits_conv_gemm_input_grad(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
                               size_t shared_bytes) {
  if (!fits_conv_gemm(g, math) || g.axes[0].stride != 1 || g.axes[1].stride != 1) return false;
  if (rows == ConvGemmRows::pixels) return true;
  if (rows == ConvGemmRows::images) return g.batch >= kInputRows / 2;
  if (math == ConvGemmMath::cores || !ResidentRows::fit(g)) return false;
  const auto fits = [&]<typename T>() {
    return ResidentRows::shared_bytes<ResidentTile<T>>(ConvSizes(g)) <= shared_bytes;
  };
  return math == ConvGemmMath::tf32 ? fits.operator()<float>() : fits.operator()<Bf16>();
}

void conv_gemm_input_grad(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
                          const ConvGemmCall& call) {
  visit_tile(math, rows, [&]<typename Tile, typename Rows>() {
    using T = typename Tile::Element;
    launch(kNames[static_cast<int>(math)], input_grad<Tile, Rows>, shape_of<Tile, Rows>(g),
           call.stream, static_cast<const T*>(call.y), static_cast<const T*>(call.filter),
           static_cast<T*>(call.result), ConvSizes(g));
  });
}

bool fits_conv_gemm_input_grad_sums(const ConvGeometry& g, const NormWindows& windows) {
  return windows.are_known() && ColumnGroups::fit(tiles_of(g.x_channels, kInputColumns), kTickets);
}

size_t conv_gemm_input_grad_sums_workspace(const ConvGeometry& g, ConvGemmRows rows) {
  return NormGradArguments<float, float, float>::vector_bytes(g.x_channels) +
         groups_of(g, rows).partial_bytes<NormSums>(g.x_channels);
}

void conv_gemm_input_grad_sums(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
                               const ConvGemmCall& call, const ConvNormCall& norm) {
  visit_tile(math, rows, [&]<typename Tile, typename Rows>() {
    const char* const name = kSumsNames[static_cast<int>(math)];
    if (norm.windows.known_side() == 2) return launch_sums<Tile, Rows, 2>(name, g, call, norm);
    launch_sums<Tile, Rows, 1>(name, g, call, norm);
  });
}

}  // namespace adjoint::cuda
