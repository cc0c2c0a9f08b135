#include <algorithm>

#include "ops/conv.h"
#include "runtime/cuda/device/column_moments.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/last_block.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernels/conv_geometry.h"
#include "runtime/cuda/kernels/conv_thin.h"
#include "runtime/scalar/base.h"

namespace adjoint::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPack = 8;    // channels of y that a thread computes
constexpr int kPixels = 4;  // neighbours in a row that a thread computes

// ConvGeometry in 32 bits.
struct Thin {
  int batch, x_rows, x_columns, y_rows, y_columns;
  int pad_rows, pad_columns;
  int height;  // of the filter
  int x_channels, y_channels;

  explicit Thin(const ConvGeometry& g)
      : batch(static_cast<int>(g.batch)),
        x_rows(static_cast<int>(g.axes[0].x)),
        x_columns(static_cast<int>(g.axes[1].x)),
        y_rows(static_cast<int>(g.axes[0].y)),
        y_columns(static_cast<int>(g.axes[1].y)),
        pad_rows(static_cast<int>(g.axes[0].pad)),
        pad_columns(static_cast<int>(g.axes[1].pad)),
        height(static_cast<int>(g.axes[0].filter)),
        x_channels(static_cast<int>(g.x_channels)),
        y_channels(static_cast<int>(g.y_channels)) {}

  ADJOINT_HOST_DEVICE int packs() const { return y_channels / kPack; }
  // Threads of a pack.
  ADJOINT_HOST_DEVICE int per_row() const { return (y_columns + kPixels - 1) / kPixels; }
  ADJOINT_HOST_DEVICE int filter_size(int width) const {
    return height * width * x_channels * y_channels;
  }
};

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

// How the filter's gradient is shared out. A thread has a role, the filter's row k, a channel of x
// and a pack of channels of y, and adds up some rows of y for it. `slices` threads of a block have
// the same role. The blocks' sums are added in groups, and those of the groups at last.
struct Shares {
  static constexpr int kGroup = 16;       // blocks
  static constexpr int kMostGroups = 16;  // with a ticket each, before that of the groups
  static_assert(kMostGroups < kTickets);

  int roles, slices, blocks, groups;

  explicit Shares(const Thin& g) : roles(g.height * g.x_channels * g.packs()) {
    slices = kThreads / roles;
    const int rows = g.batch * g.y_rows, most = slices * kGroup * kMostGroups;
    const int rows_each = (rows - 1) / most + 1;
    blocks = (rows - 1) / (slices * rows_each) + 1;
    groups = (blocks - 1) / kGroup + 1;
  }
  ADJOINT_HOST_DEVICE int blocks_in(int group) const {
    return group < groups - 1 ? kGroup : blocks - group * kGroup;
  }
};

// Adds the products of a row of dy, from `begin` on, and the row of x that the filter's row sees.
// The loads of the next pixels are on their way meanwhile; `x` is a window on the row that moves
// along.
template <int kWidth, typename T>
__device__ inline void add_image_row(const XRow<T>& row, const T* dy, int begin, const Thin& g,
                                     float (&sums)[kWidth][kPack]) {
  constexpr int kStep = kFullPack<T> / 2;  // pixels at a time: 64 bytes of dy
  float x[kWidth - 1 + kStep], d[kStep][kPack];
  T next_x[kStep];
  using Words = Pack<uint32_t, kPack * sizeof(T) / 4>;  // else 16 bits at a time are moved about
  Words next_d[kStep];
  auto load = [&](int j) {
    for (int p = 0; p < kStep; ++p) {
      next_x[p] = row[j + p + kWidth - 1 - g.pad_columns];
      if (j + p < g.y_columns)
        next_d[p] = *reinterpret_cast<const Words*>(dy + (begin + (j + p) * g.y_channels));
    }
  };
  for (int l = 0; l < kWidth - 1; ++l) x[l] = widen(row[l - g.pad_columns]);
  load(0);
  for (int j = 0; j < g.y_columns; j += kStep) {
    for (int p = 0; p < kStep; ++p) {
      x[kWidth - 1 + p] = widen(next_x[p]);
      const auto pack = __builtin_bit_cast(Pack<T, kPack>, next_d[p]);
      for (int o = 0; o < kPack; ++o) d[p][o] = widen(pack[o]);
    }
    load(j + kStep);
    for (int p = 0; p < kStep; ++p) {
      if (j + p >= g.y_columns) break;
      for (int o = 0; o < kPack; ++o) {
        for (int l = 0; l < kWidth; ++l) {
          sums[l][o] = scalar::multiply_add(x[p + l], d[p][o], sums[l][o]);
        }
      }
    }
    for (int l = 0; l < kWidth - 1; ++l) x[l] = x[l + kStep];
  }
}

using Four = Pack<float, 4>;

// The sums of elements i to i + 3 of `count` arrays of `size`, with many loads on their way.
template <typename Array>
__device__ inline Four sum_of(const Array& arrays, int count, int size, int i) {
  constexpr int kLoads = 16;
  Four sum = {};
  for (int begin = 0; begin < count; begin += kLoads) {
    Four parts[kLoads];
    for (int p = 0; p < kLoads; ++p) {
      const int part = begin + p;
      parts[p] = part < count ? load_pack<4>(&arrays[part * size + i]) : Four{};
    }
    for (const Four& part : parts) {
      for (int v = 0; v < 4; ++v) sum[v] += part[v];
    }
  }
  return sum;
}

// Adds what the blocks have, as many arrays in `taps` as there are slices.
template <typename T>
__device__ inline void join_blocks(Shared<float> taps, int size, const Shares& shares,
                                   float* partials, unsigned* tickets, T* dfilter) {
  const int block = blockIdx.x, group = block / Shares::kGroup, members = shares.blocks_in(group);
  const int begin = 4 * threadIdx.x, step = 4 * blockDim.x;
  float* const group_sums = partials + shares.blocks * size;
  for (int i = begin; i < size; i += step) {
    store_pack(partials + block * size + i, sum_of(taps, shares.slices, size, i));
  }
  if (!is_last_block(tickets + group, members, shared_memory<int>(1))) return;
  const float* const own = partials + group * Shares::kGroup * size;
  for (int i = begin; i < size; i += step) {
    store_pack(group_sums + group * size + i, sum_of(own, members, size, i));
  }
  unsigned* const last = tickets + Shares::kMostGroups;
  if (!is_last_block(last, shares.groups, shared_memory<int>(1))) return;
  for (int i = begin; i < size; i += step) {
    const Four sum = sum_of(group_sums, shares.groups, size, i);
    Pack<T, 4> result;
    for (int v = 0; v < 4; ++v) result[v] = narrow<T>(sum[v]);
    store_pack(dfilter + i, result);
  }
}

template <int kWidth, typename T>
__global__ void __launch_bounds__(kThreads, 1)
    conv_thin_filter_grad(const T* x, const T* dy, T* dfilter, Thin g, Shares shares,
                          float* partials, unsigned* tickets) {
  begin_kernel();
  const int slice = threadIdx.x / shares.roles, role = threadIdx.x % shares.roles;
  const int first = role % g.packs() * kPack;
  const int c = role / g.packs() % g.x_channels, k = role / g.packs() / g.x_channels;
  float sums[kWidth][kPack] = {};
  const int rows = g.batch * g.y_rows, step = shares.blocks * shares.slices;
  for (int r = blockIdx.x * shares.slices + slice; r < rows; r += step) {
    const XRow<T> row(x, g, r / g.y_rows, r % g.y_rows + k - g.pad_rows, c);
    if (row.columns == 0) continue;
    add_image_row(row, dy, r * g.y_columns * g.y_channels + first, g, sums);
  }
  const int size = g.filter_size(kWidth);
  const Shared<float> taps = shared_memory<float>(shares.slices * size);
  for (int l = 0; l < kWidth; ++l) {
    const int place = ((k * kWidth + l) * g.x_channels + c) * g.y_channels + first;
    for (int o = 0; o < kPack; o += 4) {
      const Four part = {{sums[l][o], sums[l][o + 1], sums[l][o + 2], sums[l][o + 3]}};
      store_pack(&taps[slice * size + place + o], part);
    }
  }
  __syncthreads();
  join_blocks(taps, size, shares, partials, tickets, dfilter);
}

bool has_kernel_width(int64_t width) { return width == 3 || width == 5 || width == 7; }

// Calls body.operator()<T, kWidth>().
template <typename T, typename Body>
PreparedKernel visit_width(int64_t width, Body body) {
  if (width == 3) return body.template operator()<T, 3>();
  if (width == 5) return body.template operator()<T, 5>();
  return body.template operator()<T, 7>();
}
template <typename Body>
PreparedKernel visit_thin(const KernelRequest& request, Body body) {
  const int64_t width = geometry_of(request).axes[1].filter;
  switch (request.outputs[0].dtype) {
    case DType::f32:
      return visit_width<float>(width, body);
    case DType::bf16:
      return visit_width<Bf16>(width, body);
    default:
      return visit_width<F16>(width, body);
  }
}

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
      const ColumnMoments moments = {
          .bias = call.inputs.size() > 4 ? call.input<float>(4) : nullptr,
          .parts = static_cast<ColumnPart*>(call.workspace),
          .tickets = call.tickets,
          .mean = call.output<float>(1),
          .variance = call.output<float>(2)};
      launch("conv_thin_moments", conv_thin_moments<kWidth, T>, shape, call.stream,
             call.input<T>(0), call.input<T>(1), call.output<T>(0), g, pixels, tile, blocks,
             moments);
    };
  };
  const int64_t width = geometry_of(convolution).axes[1].filter;
  return convolution.outputs[0].dtype == DType::bf16 ? visit_width<Bf16>(width, prepare)
                                                     : visit_width<float>(width, prepare);
}

KernelFacts describe_thin_conv_filter_grad(const KernelRequest& request, Context&) {
  const ConvGeometry geometry = geometry_of(request);
  const Shares shares{Thin(geometry)};
  return {
      .workspace_bytes = (shares.blocks + shares.groups) * geometry.filter_size() * sizeof(float),
      .flops = geometry.flops()};
}

PreparedKernel prepare_thin_conv_filter_grad(const KernelRequest& request, Context&) {
  const Thin g(geometry_of(request));
  return visit_thin(request, [g]<typename T, int kWidth>() -> PreparedKernel {
    const Shares shares(g);
    const LaunchShape shape = {
        .grid = dim3(shares.blocks),
        .block = dim3(shares.roles * shares.slices),
        .shared_bytes = shares.slices * g.filter_size(kWidth) * sizeof(float)};
    return [=](const KernelCall& call) {
      launch("conv_thin_filter_grad", conv_thin_filter_grad<kWidth, T>, shape, call.stream,
             call.input<T>(0), call.input<T>(1), call.output<T>(0), g, shares,
             static_cast<float*>(call.workspace), call.tickets);
    };
  });
}

}  // namespace adjoint::cuda
