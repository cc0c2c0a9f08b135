// Thin convolutions with their moments on tensor cores, in TF32, which holds bf16 exactly. A block
// has some pixels of an image, one behind the other, and in shared memory what they see of x, and
// the filter. k are the values that the filter sees, from a table of where they lie.
#include <algorithm>

#include "runtime/cuda/device/column_moments.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/mma.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernels/conv_gemm_copy.h"
#include "runtime/cuda/kernels/conv_geometry.h"
#include "runtime/cuda/kernels/conv_sizes.h"
#include "runtime/cuda/kernels/conv_thin.h"
#include "runtime/cuda/kernels/conv_thin_geometry.h"
#include "runtime/cuda/kernels/part_sums.h"

namespace adjoint::cuda {
namespace {

constexpr int kMostThreads = 256;
constexpr int kTiles = 3;  // of 16 pixels that a warp computes
constexpr int kWarpPixels = 16 * kTiles;

// How y is shared out, and where what a block has lies in shared memory, in words: rows of x,
// padding included; the filter by k; the table; the results.
struct TensorShares {
  int pixels, blocks_each;  // of an image
  int warps;
  int depth, steps;    // values that the filter sees, in steps of 8
  int columns, pitch;  // channels of a block; from one k or pixel to the next, for different banks
  int x_row, x_size;

  TensorShares(const Thin& g, int width, int packs)
      : pixels(g.y_rows * g.y_columns),
        blocks_each(tiles_of(pixels, kMostThreads / 32 * kWarpPixels)),
        warps(tiles_of(tiles_of(pixels, blocks_each), kWarpPixels)),
        depth(g.height * width * g.x_channels),
        steps(tiles_of(depth, 8)),
        columns(8 * packs),
        pitch(columns % 16 == 0 ? columns + 8 : columns),
        x_row((g.y_columns + width - 1) * g.x_channels) {
    // The first pixel may be anywhere in its row.
    const int rows = std::min(g.y_rows, (each() - 1 + g.y_columns - 1) / g.y_columns + 1);
    x_size = (rows + g.height - 1) * x_row;
  }
  ADJOINT_HOST_DEVICE int each() const { return warps * kWarpPixels; }
  ADJOINT_HOST_DEVICE int filter_at() const { return x_size; }
  ADJOINT_HOST_DEVICE int table_at() const { return filter_at() + 8 * steps * pitch; }
  ADJOINT_HOST_DEVICE int tile_at() const { return (table_at() + 8 * steps + 3) / 4 * 4; }
  ADJOINT_HOST_DEVICE int scratch_at() const { return tile_at() + each() * pitch; }
  int bytes() const { return 4 * scratch_at() + column_scratch_bytes<ColumnPart>(32 * warps); }

  __device__ Shared<uint32_t> x() const { return shared_memory<uint32_t>(x_size); }
  __device__ Shared<uint32_t> filter() const {
    return shared_memory<uint32_t>(8 * steps * pitch, 4 * filter_at());
  }
  __device__ Shared<int> table() const { return shared_memory<int>(8 * steps, 4 * table_at()); }
  __device__ Shared<float> tile() const {
    return shared_memory<float>(each() * pitch, 4 * tile_at());
  }
};

template <typename T>
__device__ inline uint32_t tf32_word(T value) {
  return mma_word(Pack<float, 1>{{widen(value)}});
}

// The rows of x from `first` on, of y's.
template <typename T>
__device__ inline void bring_x(const T* x, const Thin& g, const TensorShares& s, int image,
                               int first) {
  const Shared<uint32_t> to = s.x();
  const int elements = g.x_columns * g.x_channels;
  for (int i = threadIdx.x; i < s.x_size; i += blockDim.x) {
    const int down = i / s.x_row, row = first - g.pad_rows + down;
    const int element = i - down * s.x_row - g.pad_columns * g.x_channels;
    const bool is_inside = static_cast<unsigned>(row) < static_cast<unsigned>(g.x_rows) &&
                           static_cast<unsigned>(element) < static_cast<unsigned>(elements);
    to[i] = is_inside ? tf32_word(x[(image * g.x_rows + row) * elements + element]) : 0;
  }
}

// Of the block's channels; zeros where there are no more.
template <typename T>
__device__ inline void bring_filter(const T* filter, const Thin& g, const TensorShares& s,
                                    int first_channel) {
  const Shared<uint32_t> to = s.filter();
  for (int i = threadIdx.x; i < 8 * s.steps * s.columns; i += blockDim.x) {
    const int k = i / s.columns, column = i - k * s.columns, channel = first_channel + column;
    const bool is_there = k < s.depth && channel < g.y_channels;
    to[k * s.pitch + column] = is_there ? tf32_word(filter[k * g.y_channels + channel]) : 0;
  }
}

// Where each k lies from where a pixel's first is.
__device__ inline void write_table(const Thin& g, const TensorShares& s) {
  const Shared<int> table = s.table();
  const int row = s.depth / g.height;
  for (int k = threadIdx.x; k < 8 * s.steps; k += blockDim.x) {
    table[k] = k < s.depth ? k / row * s.x_row + k % row : 0;
  }
}

// The warp's pixels, of those of the image from `first` on, `count` of which are the block's.
template <int kPacks>
__device__ inline void add_products(const Thin& g, const TensorShares& s, int first, int count,
                                    float (&sums)[kTiles][kPacks][4]) {
  const Shared<uint32_t> x = s.x(), filter = s.filter();
  const Shared<int> table = s.table();
  const int lane = threadIdx.x % 32, row = lane / 4, number = lane % 4;
  int places[kTiles][2];
  for (int i = 0; i < kTiles; ++i) {
    for (int half = 0; half < 2; ++half) {
      const int own = threadIdx.x / 32 * kWarpPixels + 16 * i + 8 * half + row;
      const int pixel = first + min(own, count - 1);  // those past the end are not stored
      const int y = pixel / g.y_columns;
      places[i][half] =
          (y - first / g.y_columns) * s.x_row + (pixel - y * g.y_columns) * g.x_channels;
    }
  }
  for (int step = 0; step < s.steps; ++step) {
    uint32_t a[kTiles][4], b[kPacks][2];
    for (int half = 0; half < 2; ++half) {
      const int k = 8 * step + 4 * half + number, from = table[k];
      const bool is_there = k < s.depth;
      for (int j = 0; j < kPacks; ++j) b[j][half] = filter[k * s.pitch + 8 * j + row];
      for (int i = 0; i < kTiles; ++i) {
        for (int other = 0; other < 2; ++other) {
          const uint32_t word = x[places[i][other] + from];
          a[i][2 * half + other] = is_there ? word : 0;
        }
      }
    }
    mma<float>(sums, a, b);
  }
}

// As they are stored.
template <typename T, int kPacks>
__device__ inline void write_tile(const TensorShares& s, const float (&sums)[kTiles][kPacks][4]) {
  const Shared<float> tile = s.tile();
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < kTiles; ++i) {
    for (int half = 0; half < 2; ++half) {
      const int row = threadIdx.x / 32 * kWarpPixels + 16 * i + 8 * half + lane / 4;
      for (int j = 0; j < kPacks; ++j) {
        const Pack<float, 2> own = {{sums[i][j][2 * half], sums[i][j][2 * half + 1]}};
        store_pack(&tile[row * s.pitch + 8 * j + lane % 4 * 2], rounded<T>(own));
      }
    }
  }
}

template <typename T>
__device__ inline void store_tile(const TensorShares& s, const Thin& g, int count, int channels,
                                  T* y) {
  const Shared<float> tile = s.tile();
  const int quads = channels / 4;
  for (int i = threadIdx.x; i < count * quads; i += blockDim.x) {
    const int row = i / quads, channel = (i - row * quads) * 4;
    const Pack<float, 4> values = load_pack<4>(&tile[row * s.pitch + channel]);
    store_pack(y + row * g.y_channels + channel, narrowed<T>(values));
  }
}

template <int kPacks, typename T>
__global__ void __launch_bounds__(kMostThreads, 2)
    conv_thin_tensor_moments(const T* x, const T* filter, T* y, Thin g, TensorShares s,
                             ColumnGroups groups, ColumnMoments moments) {
  begin_kernel();
  const int image = blockIdx.x / s.blocks_each;
  const int first = (blockIdx.x - image * s.blocks_each) * s.each();
  const int count = min(s.each(), s.pixels - first);
  const int first_channel = blockIdx.y * s.columns;
  const int channels = min(s.columns, g.y_channels - first_channel);
  bring_x(x, g, s, image, first / g.y_columns);
  bring_filter(filter, g, s, first_channel);
  write_table(g, s);
  __syncthreads();
  float sums[kTiles][kPacks][4] = {};
  add_products(g, s, first, count, sums);
  write_tile<T>(s, sums);
  __syncthreads();
  store_tile(s, g, count, channels, y + (image * s.pixels + first) * g.y_channels + first_channel);
  const ColumnSlice at(channels);
  ColumnPart part;
  if (at.is_inside()) {
    const Shared<float> tile = s.tile();
    const float bias = moments.bias == nullptr ? 0 : moments.bias[first_channel + at.channel];
    part.first = tile[at.channel] + bias;
    for (int row = at.slice; row < count; row += at.slices) {
      part.add(tile[row * s.pitch + at.channel] + bias);
    }
  }
  const ColumnBlock block = {.number = static_cast<int>(blockIdx.x),
                             .first = first_channel,
                             .channels = channels,
                             .all = g.y_channels,
                             .tickets = moments.tickets + blockIdx.y * groups.tickets()};
  join_moments(block, groups, moments, part, 4 * s.scratch_at());
}

// Packs of channels of a block: all, if that can be.
int packs_of(const Thin& g) {
  for (int packs : {3, 4}) {
    if (g.packs() % packs == 0) return packs;
  }
  return 2;
}

TensorShares shares_of(const KernelRequest& convolution) {
  const ConvGeometry g = geometry_of(convolution);
  return {Thin(g), static_cast<int>(g.axes[1].filter), packs_of(Thin(g))};
}

ColumnGroups groups_of(const Thin& g, const TensorShares& s) {
  return {g.batch * s.blocks_each, tiles_of(g.y_channels, s.columns), kTickets};
}

// Calls body<kPacks, T>().
template <typename Body>
PreparedKernel visit(int packs, DType dtype, Body body) {
  const auto with_packs = [&]<int kPacks>() -> PreparedKernel {
    if (dtype == DType::bf16) return body.template operator()<kPacks, Bf16>();
    return body.template operator()<kPacks, float>();
  };
  if (packs == 2) return with_packs.template operator()<2>();
  if (packs == 3) return with_packs.template operator()<3>();
  return with_packs.template operator()<4>();
}

}  // namespace

bool fits_thin_tensor_moments(const KernelRequest& convolution) {
  constexpr int kMostShared = 96 << 10;  // any GPU has as much
  return shares_of(convolution).bytes() <= kMostShared;
}

size_t thin_tensor_moments_workspace(const KernelRequest& convolution) {
  const Thin g(geometry_of(convolution));
  return groups_of(g, shares_of(convolution)).partial_bytes<ColumnPart>(g.y_channels);
}

PreparedKernel prepare_thin_tensor_moments(const KernelRequest& convolution) {
  const Thin g(geometry_of(convolution));
  const TensorShares shares = shares_of(convolution);
  const ColumnGroups groups = groups_of(g, shares);
  const LaunchShape shape = {.grid = dim3(groups.blocks, tiles_of(g.y_channels, shares.columns)),
                             .block = dim3(32 * shares.warps),
                             .shared_bytes = static_cast<size_t>(shares.bytes())};
  const auto prepare = [=]<int kPacks, typename T>() -> PreparedKernel {
    return [=](const KernelCall& call) {
      launch("conv_thin_tensor_moments", conv_thin_tensor_moments<kPacks, T>, shape, call.stream,
             call.input<T>(0), call.input<T>(1), call.output<T>(0), g, shares, groups,
             moments_of(call));
    };
  };
  return visit(packs_of(g), convolution.outputs[0].dtype, prepare);
}

}  // namespace adjoint::cuda
