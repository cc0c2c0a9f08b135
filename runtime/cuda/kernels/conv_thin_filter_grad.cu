// The filter's gradient of thin convolutions. Blocks bring tiles of dy, and of the x that they see,
// to shared memory, where all that need them read them. dy is stored, or computed as it is brought:
// the gradient of batch norm behind the convolution, which then is nowhere else.
#include <algorithm>

#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/last_block.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernels/batch_norm_grad.h"
#include "runtime/cuda/kernels/conv_thin.h"
#include "runtime/cuda/kernels/conv_thin_geometry.h"
#include "runtime/cuda/kernels/conv_thin_sums.h"
#include "runtime/cuda/kernels/conv_thin_tiles.h"
#include "runtime/cuda/kernels/norm_relu.h"
#include "runtime/cuda/kernels/part_sums.h"

namespace adjoint::cuda {
namespace {

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
      const auto dy = load_pack<4>(grad.a.dy + number * g.y_channels + channel);
      const KnownWindow<T, 4, kSide> x(grad.windows, grad.a.x + pixel * g.y_channels + channel,
                                       g.y_channels);
      return window_grad<true>(k, of_window, x, dy);
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
  const int columns = s.runs * s.run / 2, patches = s.rows / 2 * columns;
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
    store_pack(dfilter + i, narrowed<T>(sum_of(group_sums, shares.groups, size, i)));
  }
}

// Two blocks on a multiprocessor, where the sums leave registers enough.
template <typename Sums, int kWidth, typename T, typename Grad>
__global__ void __launch_bounds__(kThinThreads, kWidth < 7 ? 2 : 1)
    conv_thin_filter_grad(const T* x, const __grid_constant__ Grad grad, T* dfilter, Thin g,
                          Shares shares, float* partials, unsigned* tickets) {
  begin_kernel();
  Sums sums(g);
  const Tile tile(g, shares, kWidth);
  const typename Grad::Reader read(grad, static_cast<int>(threadIdx.x) % (g.y_channels / 4) * 4);
  const int begin = static_cast<int>(blockIdx.x) * shares.tiles_each;
  for (int t = begin; t < min(begin + shares.tiles_each, shares.tiles); ++t) {
    const Place first = Place::of_tile(shares, t);
    bring_x(x, g, tile, first);
    bring_y(read, g, shares, tile, first);
    __syncthreads();
    sums.add(g, shares, tile, first);
    __syncthreads();
  }
  const int size = g.filter_size(kWidth);
  const Shared<float> taps = shared_memory<float>(shares.slices * size);
  sums.put(g, taps, size);
  __syncthreads();
  join_blocks(taps, size, shares, partials, tickets, dfilter);
}

template <typename Sums, int kWidth, typename T, typename Grad>
void launch_filter_grad(const char* name, const Shares& shares, const Thin& g,
                        const KernelCall& call, const Grad& grad) {
  const int tile = Tile(g, shares, kWidth).bytes();
  const int taps = shares.slices * g.filter_size(kWidth) * static_cast<int>(sizeof(float));
  const LaunchShape shape = {.grid = dim3(shares.blocks),
                             .block = dim3(shares.threads),
                             .shared_bytes = static_cast<size_t>(std::max(tile, taps))};
  launch(name, conv_thin_filter_grad<Sums, kWidth, T, Grad>, shape, call.stream, call.input<T>(0),
         grad, call.output<T>(0), g, shares, static_cast<float*>(call.workspace), call.tickets);
}

}  // namespace

size_t thin_filter_grad_workspace(const KernelRequest& filter_grad, bool on_tensor_cores) {
  const ConvGeometry g = geometry_of(filter_grad);
  const Shares shares = on_tensor_cores ? tensor_shares(Thin(g)) : core_shares(Thin(g));
  return (shares.blocks + shares.groups) * g.filter_size() * sizeof(float);
}

KernelFacts describe_thin_conv_filter_grad(const KernelRequest& request, Context&) {
  return {.workspace_bytes = thin_filter_grad_workspace(request, false),
          .flops = geometry_of(request).flops()};
}

PreparedKernel prepare_thin_conv_filter_grad(const KernelRequest& request, Context&) {
  const Thin g(geometry_of(request));
  return visit_thin(request, [g]<typename T, int kWidth>() -> PreparedKernel {
    return [g](const KernelCall& call) {
      launch_filter_grad<CoreSums<kWidth>, kWidth, T>("conv_thin_filter_grad", core_shares(g), g,
                                                      call, StoredGrad<T>{call.input<T>(1)});
    };
  });
}

bool fits_thin_norm_filter_grad(const KernelRequest& norm) {
  const NormWindows windows(norm.inputs[1].dims, NormFacts(norm.region()).pool);
  const DType stored = norm.inputs[1].dtype;
  return (stored == DType::f32 || stored == DType::bf16) && norm.inputs[0].dtype == stored &&
         windows.are_known();
}

bool fits_thin_tensor_filter_grad(const KernelRequest& filter_grad) {
  const ConvGeometry g = geometry_of(filter_grad);
  return fits_tensor_sums(Thin(g), static_cast<int>(g.axes[1].filter));
}

ThinNormFilterGrad prepare_thin_norm_filter_grad(const KernelRequest& filter_grad,
                                                 const KernelRequest& norm, bool on_tensor_cores) {
  const Thin g(geometry_of(filter_grad));
  const NormFacts facts(norm.region());
  const NormWindows windows(norm.inputs[1].dims, facts.pool);
  const auto prepare = [&]<typename T, int kWidth>() -> ThinNormFilterGrad {
    const auto with = [&]<typename Sums, int kSide>(const char* name,
                                                    const Shares& shares) -> ThinNormFilterGrad {
      return [=, epsilon = static_cast<float>(facts.epsilon)](const KernelCall& call,
                                                              const KernelCall& norm) {
        launch_filter_grad<Sums, kWidth, T>(
            name, shares, g, call,
            NormGrad<T, kSide>{{norm, true, g.y_channels, epsilon}, windows});
      };
    };
    const auto with_side = [&]<int kSide>() -> ThinNormFilterGrad {
      if (on_tensor_cores) {
        return with.template operator()<TensorSums<kWidth>, kSide>(
            "conv_thin_norm_filter_grad_tensor", tensor_shares(g));
      }
      return with.template operator()<CoreSums<kWidth>, kSide>("conv_thin_norm_filter_grad",
                                                               core_shares(g));
    };
    return windows.known_side() == 2 ? with_side.template operator()<2>()
                                     : with_side.template operator()<1>();
  };
  const int64_t width = geometry_of(filter_grad).axes[1].filter;
  return norm.inputs[1].dtype == DType::bf16 ? visit_width<Bf16>(width, prepare)
                                             : visit_width<float>(width, prepare);
}

}  // namespace adjoint::cuda
