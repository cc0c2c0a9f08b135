// The filter's gradient of thin convolutions. Blocks bring tiles of dy, and of the x that they see,
// to shared memory, where all that need them read them. dy is stored, or computed as it is brought:
// the gradient of batch norm behind the convolution, which then is nowhere else.
#include <algorithm>

#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/last_block.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernels/batch_norm.h"
#include "runtime/cuda/kernels/conv_thin.h"
#include "runtime/cuda/kernels/conv_thin_geometry.h"
#include "runtime/cuda/kernels/norm_relu.h"
#include "runtime/scalar/base.h"

namespace adjoint::cuda {
namespace {

constexpr int kMostThreads = 256;
constexpr int kPack = Thin::kPack;
constexpr int kRun = 6;  // neighbours in a row that a thread adds up at a time
using Four = Pack<float, 4>;

int ratio_up(int a, int b) { return (a + b - 1) / b; }

// How the filter's gradient is shared out. A thread has a role, the filter's row k, a channel of x
// and a pack of channels of y, and adds up runs of a tile's pixels for it. `slices` threads of a
// block have the same role. Each block has some tiles, one after the other; while one waits for
// its data, another one on the same multiprocessor computes. The blocks' sums are added in groups,
// and those of the groups at last.
struct Shares {
  static constexpr int kGroup = 16;       // blocks
  static constexpr int kMostGroups = 16;  // with a ticket each, before that of the groups
  static_assert(kMostGroups < kTickets);

  int roles, slices;
  int rows, runs;    // of a tile, an even number of rows; the runs of each
  int down, across;  // tiles of an image
  int tiles, tiles_each, blocks, groups;

  explicit Shares(const Thin& g) : roles(g.height * g.x_channels * g.packs()) {
    const int most_slices = kMostThreads / roles;
    const int most = std::clamp(200 / g.packs(), 2, std::max(most_slices, 2));  // 40 KB of dy
    runs = std::min(ratio_up(g.y_columns, kRun), most / 2);
    rows = 2 * std::min(most / runs / 2, ratio_up(g.y_rows, 2));
    slices = std::min(most_slices, rows * runs);
    down = ratio_up(g.y_rows, rows);
    across = ratio_up(g.y_columns, runs * kRun);
    tiles = g.batch * down * across;
    tiles_each = ratio_up(tiles, kGroup * kMostGroups);
    blocks = ratio_up(tiles, tiles_each);
    groups = ratio_up(blocks, kGroup);
  }
  int threads() const { return roles * slices; }
  ADJOINT_HOST_DEVICE int blocks_in(int group) const {
    return group < groups - 1 ? kGroup : blocks - group * kGroup;
  }
};

// A tile in shared memory, as floats: rows of dy, and behind them the rows of x, padding included,
// that the filter sees from there.
struct Tile {
  int y_row, x_row;  // elements of a row
  int y_size, x_size;

  ADJOINT_HOST_DEVICE Tile(const Thin& g, const Shares& s, int width)
      : y_row(s.runs * kRun * g.y_channels + 4),  // neighbouring rows begin in other banks
        x_row((s.runs * kRun + width - 1) * g.x_channels),
        y_size(s.rows * y_row),
        x_size((s.rows + g.height - 1) * x_row) {}
  ADJOINT_HOST_DEVICE int bytes() const {
    return (y_size + x_size) * static_cast<int>(sizeof(float));
  }
  __device__ Shared<float> y() const { return shared_memory<float>(y_size); }
  __device__ Shared<float> x() const {
    return shared_memory<float>(x_size, y_size * static_cast<int>(sizeof(float)));
  }
};

// Where a pixel of y is; that of a tile is its first one.
struct Place {
  int image, row, column;

  __device__ static Place of_tile(const Shares& s, int tile) {
    const int row = tile / s.across, image = row / s.down;
    return {image, (row - image * s.down) * s.rows, (tile - row * s.across) * s.runs * kRun};
  }
  __device__ Place moved(int down, int right) const { return {image, row + down, column + right}; }
  __device__ bool is_inside(const Thin& g) const { return row < g.y_rows && column < g.y_columns; }
  __device__ int pixel(const Thin& g) const {
    return (image * g.y_rows + row) * g.y_columns + column;
  }
};

// dy in four channels of a pixel and of those beside, below and below beside it; anything where
// there is no such pixel.
struct Patch {
  Four pixels[4];

  template <typename T>
  __device__ void set(int t, const Pack<T, 4>& values) {
    for (int v = 0; v < 4; ++v) pixels[t][v] = widen(values[v]);
  }
};

// As it is stored.
template <typename T>
struct StoredGrad {
  const T* dy;

  struct Reader {
    const T* dy;
    __device__ Reader(const StoredGrad& grad, int channel) : dy(grad.dy + channel) {}
    __device__ Patch operator()(const Thin& g, const Place& at) const {
      Patch patch = {};
      for (int t = 0; t < 4; ++t) {
        const Place pixel = at.moved(t / 2, t % 2);
        if (pixel.is_inside(g)) patch.set(t, load_pack<4>(dy + pixel.pixel(g) * g.y_channels));
      }
      return patch;
    }
  };
};

// As batch norm's gradient would store it. Windows are pixels, or of 2 x 2 and cover the images.
template <typename T, int kSide>
struct NormGrad {
  NormGradArguments<T, T, float> a;
  NormWindows windows;

  struct Reader {
    const NormGrad& grad;
    int channel;
    NormChannels<float, 4> k;
    WindowGrad<float, 4> of_window;

    __device__ Reader(const NormGrad& grad, int channel)
        : grad(grad),
          channel(channel),
          k(channel, grad.a.scale, grad.a.offset, grad.a.mean, grad.a.variance, grad.a.bias,
            grad.a.epsilon),
          of_window(grad.a.shift + channel, grad.a.slope + channel) {}
    __device__ KnownWindow<T, 4, kSide> window(const Thin& g, int pixel, int number) const {
      return window_grad<true, kSide>(grad.windows, k, of_window,
                                      grad.a.x + pixel * g.y_channels + channel,
                                      grad.a.dy + number * g.y_channels + channel, g.y_channels);
    }
    __device__ Patch operator()(const Thin& g, const Place& at) const {
      Patch patch = {};
      if constexpr (kSide == 2) {
        const int row = (at.image * g.y_rows + at.row) / 2;
        const auto dx = window(g, at.pixel(g), row * (g.y_columns / 2) + at.column / 2);
        for (int t = 0; t < 4; ++t) patch.set(t, dx.packs[t]);
      } else {
        for (int t = 0; t < 4; ++t) {
          const Place at_tap = at.moved(t / 2, t % 2);
          const int pixel = at_tap.pixel(g);
          if (at_tap.is_inside(g)) patch.set(t, window(g, pixel, pixel).packs[0]);
        }
      }
      return patch;
    }
  };
};

// A thread always has the same channels, whose numbers the reader keeps.
template <typename Reader>
__device__ inline void bring_y(const Reader& read, const Thin& g, const Shares& s, const Tile& tile,
                               const Place& first) {
  const Shared<float> to = tile.y();
  const int quads = g.y_channels / 4, slots = static_cast<int>(blockDim.x) / quads;
  const int slot = static_cast<int>(threadIdx.x) / quads;
  const int channel = (static_cast<int>(threadIdx.x) - slot * quads) * 4;
  const int columns = s.runs * kRun / 2, patches = s.rows / 2 * columns;
  for (int p = slot; slot < slots && p < patches; p += slots) {
    const int row = p / columns * 2, column = p % columns * 2;
    const Place at = first.moved(row, column);
    if (!at.is_inside(g)) continue;
    const Patch patch = read(g, at);
    for (int t = 0; t < 4; ++t) {
      const int pixel = (row + t / 2) * tile.y_row + (column + t % 2) * g.y_channels;
      store_pack(&to[pixel + channel], patch.pixels[t]);
    }
  }
}

template <typename T>
__device__ inline void bring_x(const T* x, const Thin& g, const Tile& tile, const Place& first) {
  const Shared<float> to = tile.x();
  const int elements = g.x_columns * g.x_channels;
  for (int i = threadIdx.x; i < tile.x_size; i += blockDim.x) {
    const int down = i / tile.x_row, row = first.row - g.pad_rows + down;
    const int element = (first.column - g.pad_columns) * g.x_channels + i - down * tile.x_row;
    const bool is_inside = static_cast<unsigned>(row) < static_cast<unsigned>(g.x_rows) &&
                           static_cast<unsigned>(element) < static_cast<unsigned>(elements);
    to[i] = is_inside ? widen(x[(first.image * g.x_rows + row) * elements + element]) : 0.0f;
  }
}

struct Role {
  int slice, first, c, k;  // `first` of the pack's channels

  __device__ Role(const Thin& g, const Shares& s) : slice(static_cast<int>(threadIdx.x) / s.roles) {
    const int role = static_cast<int>(threadIdx.x) - slice * s.roles;
    first = role % g.packs() * kPack;
    c = role / g.packs() % g.x_channels;
    k = role / g.packs() / g.x_channels;
  }
};

// Adds the products of `count` pixels of dy and what the filter's row sees of x, from `x_at` and
// `y_at` on. Behind those there is room for a run's others.
template <int kWidth>
__device__ inline void add_run(const Shared<float>& x, int x_at, int x_step, const Shared<float>& y,
                               int y_at, int y_step, int count, float (&sums)[kWidth][kPack]) {
  float seen[kRun + kWidth - 1];
  for (int i = 0; i < kRun + kWidth - 1; ++i) seen[i] = x[x_at + i * x_step];
  Four low = load_pack<4>(&y[y_at]), high = load_pack<4>(&y[y_at + 4]);
  for (int p = 0; p < kRun; ++p) {
    const int next = y_at + min(p + 1, kRun - 1) * y_step;
    const Four next_low = load_pack<4>(&y[next]), next_high = load_pack<4>(&y[next + 4]);
    for (int o = 0; p < count && o < 4; ++o) {
      for (int l = 0; l < kWidth; ++l) {
        sums[l][o] = scalar::multiply_add(seen[p + l], low[o], sums[l][o]);
        sums[l][4 + o] = scalar::multiply_add(seen[p + l], high[o], sums[l][4 + o]);
      }
    }
    low = next_low, high = next_high;
  }
}

// Slices that follow one another have rows that do.
template <int kWidth>
__device__ inline void add_tile(const Thin& g, const Shares& s, const Tile& tile,
                                const Place& first, const Role& role,
                                float (&sums)[kWidth][kPack]) {
  const Shared<float> x = tile.x(), y = tile.y();
  for (int run = role.slice; run < s.rows * s.runs; run += s.slices) {
    const int along = run / s.rows, row = run - along * s.rows, column = along * kRun;
    if (!first.moved(row, column).is_inside(g)) continue;
    const int count = min(kRun, g.y_columns - first.column - column);
    add_run(x, (row + role.k) * tile.x_row + column * g.x_channels + role.c, g.x_channels, y,
            row * tile.y_row + column * g.y_channels + role.first, g.y_channels, count, sums);
  }
}

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

// Two blocks on a multiprocessor, where the sums leave registers enough.
template <int kWidth, typename T, typename Grad>
__global__ void __launch_bounds__(kMostThreads, kWidth < 7 ? 2 : 1)
    conv_thin_filter_grad(const T* x, const __grid_constant__ Grad grad, T* dfilter, Thin g,
                          Shares shares, float* partials, unsigned* tickets) {
  begin_kernel();
  const Role role(g, shares);
  const Tile tile(g, shares, kWidth);
  const typename Grad::Reader read(grad, static_cast<int>(threadIdx.x) % (g.y_channels / 4) * 4);
  float sums[kWidth][kPack] = {};
  const int begin = static_cast<int>(blockIdx.x) * shares.tiles_each;
  for (int t = begin; t < min(begin + shares.tiles_each, shares.tiles); ++t) {
    const Place first = Place::of_tile(shares, t);
    bring_x(x, g, tile, first);
    bring_y(read, g, shares, tile, first);
    __syncthreads();
    add_tile(g, shares, tile, first, role, sums);
    __syncthreads();
  }
  const int size = g.filter_size(kWidth);
  const Shared<float> taps = shared_memory<float>(shares.slices * size);
  for (int l = 0; l < kWidth; ++l) {
    const int place = ((role.k * kWidth + l) * g.x_channels + role.c) * g.y_channels + role.first;
    for (int o = 0; o < kPack; o += 4) {
      const Four part = {{sums[l][o], sums[l][o + 1], sums[l][o + 2], sums[l][o + 3]}};
      store_pack(&taps[role.slice * size + place + o], part);
    }
  }
  __syncthreads();
  join_blocks(taps, size, shares, partials, tickets, dfilter);
}

template <int kWidth, typename T, typename Grad>
void launch_filter_grad(const char* name, const Thin& g, const KernelCall& call, const Grad& grad) {
  const Shares shares(g);
  const int tile = Tile(g, shares, kWidth).bytes();
  const int taps = shares.slices * g.filter_size(kWidth) * static_cast<int>(sizeof(float));
  const LaunchShape shape = {.grid = dim3(shares.blocks),
                             .block = dim3(shares.threads()),
                             .shared_bytes = static_cast<size_t>(std::max(tile, taps))};
  launch(name, conv_thin_filter_grad<kWidth, T, Grad>, shape, call.stream, call.input<T>(0), grad,
         call.output<T>(0), g, shares, static_cast<float*>(call.workspace), call.tickets);
}

}  // namespace

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
    return [g](const KernelCall& call) {
      launch_filter_grad<kWidth, T>("conv_thin_filter_grad", g, call,
                                    StoredGrad<T>{call.input<T>(1)});
    };
  });
}

bool fits_thin_norm_filter_grad(const KernelRequest& norm) {
  const NormWindows windows(norm.inputs[1].dims, NormFacts(norm.region()).pool);
  const DType stored = norm.inputs[1].dtype;
  return (stored == DType::f32 || stored == DType::bf16) && norm.inputs[0].dtype == stored &&
         (windows.known_side() == 2 || windows.windows == windows.pixels);
}

ThinNormFilterGrad prepare_thin_norm_filter_grad(const KernelRequest& filter_grad,
                                                 const KernelRequest& norm) {
  const Thin g(geometry_of(filter_grad));
  const NormFacts facts(norm.region());
  const NormWindows windows(norm.inputs[1].dims, facts.pool);
  const auto prepare = [&]<typename T, int kWidth>() -> ThinNormFilterGrad {
    const auto with_side = [&]<int kSide>() -> ThinNormFilterGrad {
      return [g, windows, epsilon = static_cast<float>(facts.epsilon)](const KernelCall& call,
                                                                       const KernelCall& norm) {
        launch_filter_grad<kWidth, T>(
            "conv_thin_norm_filter_grad", g, call,
            NormGrad<T, kSide>{{norm, true, g.y_channels, epsilon}, windows});
      };
    };
    return windows.known_side() == 2 ? with_side.template operator()<2>()
                                     : with_side.template operator()<1>();
  };
  const int64_t width = geometry_of(filter_grad).axes[1].filter;
  return norm.inputs[1].dtype == DType::bf16 ? visit_width<Bf16>(width, prepare)
                                             : visit_width<float>(width, prepare);
}

}  // namespace adjoint::cuda
