#include <algorithm>

#include "ops/conv.h"
#include "runtime/cuda/device/column_moments.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernels/conv_geometry.h"
#include "runtime/cuda/kernels/conv_thin.h"
#include "runtime/cuda/kernels/conv_thin_geometry.h"
#include "runtime/scalar/base.h"

namespace adjoint::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPack = Thin::kPack;
constexpr int kPixels = Thin::kPixels;

// A row of a channel of x, or of padding.
template <typename T>
struct XRow {
  const T* x;
  int begin;  // its first element
  int step;
  int columns;  // 0 for padding

  __device__ XRow(const T* x, const Thin& g, int image, int row, int channel)
      : x(x),
        begin((image * g.x_rows + row) * g.x_columns * g.x_channels + channel),
        step(g.x_channels),
        columns(row >= 0 && row < g.x_rows ? g.x_columns : 0) {}
  __device__ T operator[](int column) const {
    const bool is_inside = static_cast<unsigned>(column) < static_cast<unsigned>(columns);
    return is_inside ? x[begin + column * step] : T{};
  }
};

// sums[pixel][channel] += x[pixel + l] * taps[l][channel] for each column l of the filter, whose
// values are `step` apart from `tap` on.
template <int kWidth>
__device__ inline void add_row(const float (&x)[kPixels + kWidth - 1], Shared<float> filter,
                               int tap, int step, float (&sums)[kPixels][kPack]) {
  for (int l = 0; l < kWidth; ++l) {
    const Pack<float, 4> low = load_pack<4>(&filter[tap + l * step]);
    const Pack<float, 4> high = load_pack<4>(&filter[tap + l * step + 4]);
    for (int p = 0; p < kPixels; ++p) {
      for (int o = 0; o < 4; ++o) {
        sums[p][o] = scalar::multiply_add(x[p + l], low[o], sums[p][o]);
        sums[p][4 + o] = scalar::multiply_add(x[p + l], high[o], sums[p][4 + o]);
      }
    }
  }
}

// Where the pixels and channels of y are that a thread computes.
struct ThinPlace {
  int first;  // channel
  int image, row, column;

  __device__ ThinPlace(const Thin& g, int index)
      : first(index % g.packs() * kPack),
        image(index / (g.packs() * g.per_row() * g.y_rows)),
        row(index / (g.packs() * g.per_row()) % g.y_rows),
        column(index / g.packs() % g.per_row() * kPixels) {}
  __device__ int channel_at(const Thin& g, int p) const {
    return ((image * g.y_rows + row) * g.y_columns + column + p) * g.y_channels + first;
  }
};

template <int kWidth, typename T>
__device__ inline Shared<float> copy_filter(const T* filter, const Thin& g) {
  const int size = g.filter_size(kWidth);
  const Shared<float> taps = shared_memory<float>(size);
  for (int i = threadIdx.x; i < size; i += kThreads) taps[i] = widen(filter[i]);
  __syncthreads();
  return taps;
}

// While a row is added up, the next one's x is on its way.
template <int kWidth, typename T>
__device__ inline void add_rows(const T* x, const Shared<float>& taps, const Thin& g,
                                const ThinPlace& at, float (&sums)[kPixels][kPack]) {
  constexpr int kSpan = kPixels + kWidth - 1;
  float now[kSpan];
  T next[kSpan];  // widened later, which waits for the loads
  auto load = [&](int k, int c) {
    const XRow<T> from(x, g, at.image, at.row + k - g.pad_rows, c);
    for (int i = 0; i < kSpan; ++i) next[i] = from[at.column + i - g.pad_columns];
  };
  const int step = g.x_channels * g.y_channels;
  load(0, 0);
  for (int k = 0, c = 0; k < g.height;) {
    const int tap = (k * kWidth * g.x_channels + c) * g.y_channels + at.first;
    if (++c == g.x_channels) {
      c = 0;
      ++k;
    }
    for (int i = 0; i < kSpan; ++i) now[i] = widen(next[i]);
    if (k < g.height) load(k, c);
    add_row<kWidth>(now, taps, tap, step, sums);
  }
}

template <typename T>
__device__ inline Pack<T, kPack> narrowed(const float (&sums)[kPack]) {
  Pack<T, kPack> result;
  for (int o = 0; o < kPack; ++o) result[o] = narrow<T>(sums[o]);
  return result;
}

// The filter is in shared memory.
template <int kWidth, typename T>
__global__ void __launch_bounds__(kThreads, 1)
    conv_thin(const T* x, const T* filter, T* y, Thin g, int threads) {
  begin_kernel();
  const Shared<float> taps = copy_filter<kWidth>(filter, g);
  const int index = blockIdx.x * kThreads + threadIdx.x;
  if (index >= threads) return;
  const ThinPlace at(g, index);
  float sums[kPixels][kPack] = {};
  add_rows<kWidth>(x, taps, g, at, sums);
  for (int p = 0; p < kPixels; ++p) {
    if (at.column + p >= g.y_columns) break;
    store_pack(y + at.channel_at(g, p), narrowed<T>(sums[p]));
  }
}

// What a block has computed, for its moments: for each of the threads' pixels the first and the
// second four channels, by thread. Planes are apart so that neighbouring channels are in different
// banks.
struct ThinTile {
  using Quad = Pack<float, 4>;
  static constexpr int kPlane = kThreads + 4;
  static constexpr int kBytes = 2 * kPixels * kPlane * static_cast<int>(sizeof(Quad));
  int offset;

  template <typename T>
  __device__ void put(int pixel, const Pack<T, kPack>& values) const {
    const Shared<Quad> quads = shared_memory<Quad>(kBytes / static_cast<int>(sizeof(Quad)), offset);
    for (int half = 0; half < 2; ++half) {
      Quad quad;
      for (int o = 0; o < 4; ++o) quad[o] = widen(values[4 * half + o]);
      quads[(2 * pixel + half) * kPlane + threadIdx.x] = quad;
    }
  }
  // Of the thread that is the `group`-th with the channel's pack.
  __device__ float at(const Thin& g, int group, int pixel, int channel) const {
    const Shared<float> floats = shared_memory<float>(kBytes / 4, offset);
    const int half = channel / 4 % 2, thread = channel / kPack + g.packs() * group;
    return floats[((2 * pixel + half) * kPlane + thread) * 4 + channel % 4];
  }
};

// How pixels are shared out for moments: each block has whole groups of kPixels in all channels.
struct ThinGroups {
  int each, all;

  explicit ThinGroups(const Thin& g)
      : each(kThreads / g.packs()), all(g.batch * g.y_rows * g.per_row()) {}
  int blocks() const { return (all - 1) / each + 1; }
};

// The sums of a thread's share of the tile.
__device__ inline ColumnPart add_tile(const ThinTile& tile, const Thin& g, const ColumnSlice& at,
                                      int first_group, int groups, const float* biases) {
  ColumnPart part;
  if (!at.is_inside()) return part;
  const float bias = biases == nullptr ? 0 : biases[at.channel];
  part.first = tile.at(g, 0, 0, at.channel) + bias;
  const int per_row = g.per_row(), rest = g.y_columns - (per_row - 1) * kPixels;
  const int step = at.slices % per_row;
  int column = (first_group + at.slice) % per_row;
  for (int group = at.slice; group < groups; group += at.slices) {
    const int pixels = column == per_row - 1 ? rest : kPixels;
    for (int p = 0; p < kPixels; ++p) {
      if (p < pixels) part.add(tile.at(g, group, p, at.channel) + bias);
    }
    column += step;
    if (column >= per_row) column -= per_row;
  }
  return part;
}

// And the moments of y's channels.
template <int kWidth, typename T>
__global__ void __launch_bounds__(kThreads, 1)
    conv_thin_moments(const T* x, const T* filter, T* y, Thin g, ThinGroups pixels, int tile_offset,
                      ColumnGroups blocks, ColumnMoments moments) {
  begin_kernel();
  const Shared<float> taps = copy_filter<kWidth>(filter, g);
  const ThinTile tile{tile_offset};
  const int first = blockIdx.x * pixels.each, groups = min(pixels.each, pixels.all - first);
  if (static_cast<int>(threadIdx.x) < groups * g.packs()) {
    const ThinPlace at(g, first * g.packs() + threadIdx.x);
    float sums[kPixels][kPack] = {};
    add_rows<kWidth>(x, taps, g, at, sums);
    for (int p = 0; p < kPixels; ++p) {
      if (at.column + p >= g.y_columns) break;
      const Pack<T, kPack> result = narrowed<T>(sums[p]);
      store_pack(y + at.channel_at(g, p), result);
      tile.put(p, result);
    }
  }
  __syncthreads();
  const ColumnPart part = add_tile(tile, g, ColumnSlice(g.y_channels), first, groups, moments.bias);
  const ColumnBlock block = {.number = static_cast<int>(blockIdx.x),
                             .first = 0,
                             .channels = g.y_channels,
                             .all = g.y_channels,
                             .tickets = moments.tickets};
  join_moments(block, blocks, moments, part, tile_offset + ThinTile::kBytes);
}

bool has_kernel_width(int64_t width) { return width == 3 || width == 5 || width == 7; }

}  // namespace

bool is_thin(const KernelRequest& request) {
  const std::string_view op = request.node.op->name;
  if (op != kConv2d.name && op != kConv2dFilterGrad.name) return false;
  const DType dtype = request.outputs[0].dtype;
  if (dtype == DType::f64 || accumulation_of(request) != DType::f32) return false;
  const ConvGeometry g = geometry_of(request);
  constexpr int64_t kMostElements = int64_t{1} << 30, kMostChannels = 4, kMostPacks = 8;
  constexpr int64_t kMostValues = 128;  // that the filter sees
  const int64_t sizes[] = {g.x_size(), g.y_size(), g.filter_size()};
  const int64_t packs = g.y_channels / kPack, rows = g.axes[0].filter * g.x_channels;
  return std::ranges::all_of(sizes, [](int64_t s) { return s > 0 && s <= kMostElements; }) &&
         std::ranges::all_of(
             g.axes, [](const ConvAxis& axis) { return axis.stride == 1 && axis.dilation == 1; }) &&
         has_kernel_width(g.axes[1].filter) && g.groups == 1 && g.x_channels <= kMostChannels &&
         rows * g.axes[1].filter <= kMostValues && g.y_channels % kPack == 0 &&
         packs <= kMostPacks && rows * packs <= kThreads;
}

KernelFacts describe_thin_conv(const KernelRequest& request, Context&) {
  return {.flops = geometry_of(request).flops()};
}

PreparedKernel prepare_thin_conv(const KernelRequest& request, Context&) {
  const Thin g(geometry_of(request));
  return visit_thin(request, [g]<typename T, int kWidth>() -> PreparedKernel {
    const int threads = g.batch * g.y_rows * g.per_row() * g.packs();
    const LaunchShape shape = {.grid = dim3((threads - 1) / kThreads + 1),
                               .block = dim3(kThreads),
                               .shared_bytes = g.filter_size(kWidth) * sizeof(float)};
    return [=](const KernelCall& call) {
      launch("conv_thin", conv_thin<kWidth, T>, shape, call.stream, call.input<T>(0),
             call.input<T>(1), call.output<T>(0), g, threads);
    };
  });
}

size_t thin_conv_moments_workspace(const KernelRequest& convolution) {
  const Thin g(geometry_of(convolution));
  return ColumnGroups(ThinGroups(g).blocks(), 1, kTickets).partial_bytes<ColumnPart>(g.y_channels);
}

PreparedKernel prepare_thin_conv_moments(const KernelRequest& convolution) {
  const Thin g(geometry_of(convolution));
  const auto prepare = [g]<typename T, int kWidth>() -> PreparedKernel {
    const ThinGroups pixels(g);
    const ColumnGroups blocks(pixels.blocks(), 1, kTickets);
    const int filter_bytes = g.filter_size(kWidth) * static_cast<int>(sizeof(float));
    const int tile = (filter_bytes + 15) / 16 * 16;
    const int bytes = tile + ThinTile::kBytes + column_scratch_bytes<ColumnPart>(kThreads);
    const LaunchShape shape = {.grid = dim3(blocks.blocks),
                               .block = dim3(kThreads),
                               .shared_bytes = static_cast<size_t>(bytes)};
    return [=](const KernelCall& call) {
      launch("conv_thin_moments", conv_thin_moments<kWidth, T>, shape, call.stream,
             call.input<T>(0), call.input<T>(1), call.output<T>(0), g, pixels, tile, blocks,
             moments_of(call));
    };
  };
  const int64_t width = geometry_of(convolution).axes[1].filter;
  return convolution.outputs[0].dtype == DType::bf16 ? visit_width<Bf16>(width, prepare)
                                                     : visit_width<float>(width, prepare);
}

}  // namespace adjoint::cuda
