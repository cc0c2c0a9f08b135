#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/last_block.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernels/conv_thin.h"
#include "runtime/cuda/kernels/conv_thin_geometry.h"
#include "runtime/scalar/base.h"

namespace adjoint::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPack = Thin::kPack;

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
