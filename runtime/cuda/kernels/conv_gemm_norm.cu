// A forward convolution whose images are normalised on the way in: a block computes its image from
// batch norm's x into shared memory, and goes on from there.
#include "runtime/cuda/kernels/batch_norm.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_gemm_forward.h"

namespace adjoint::cuda {
namespace {

template <typename T>
using Norm = NormArguments<T, T, float, float>;

// A pack of the image: where it lies in shared memory and in r, and what it is computed from.
template <int kSide, typename T>
struct NormPack {
  int place, pixel;  // negative: none; zeros
  KnownWindow<T, kFullPack<T>, kSide> window;
};

// Computes the block's image, with zeros around, and stores it as well if that is asked for.
template <int kSide, typename T>
__device__ inline void normalize_image(const Norm<T>& a, const NormWindows& w,
                                       const ResidentImage<T>& image, bool is_stored, int threads) {
  constexpr int kPack = kFullPack<T>;
  const Shared<FullPack<T>> to = shared_memory<FullPack<T>>(image.size() / kPack);
  ResidentPacks<T> packs(image, threads);
  const int channel = packs.channel(), first = resident_pixel(image);
  const NormChannels<float, kPack> k(channel, a.scale, a.offset, a.mean, a.variance, a.bias,
                                     a.epsilon);
  const auto load = [&] {
    NormPack<kSide, T> pack = {-1, -1, {}};
    if (!packs.is_there()) return pack;
    pack.place = packs.place();
    pack.pixel = packs.image_pixel();
    if (pack.pixel >= 0) {
      const int64_t from = first_pixel(w, first + pack.pixel) * image.depth + channel;
      pack.window = KnownWindow<T, kPack, kSide>(w, a.x + from, image.depth);
    }
    packs.advance();
    return pack;
  };
  const auto finish = [&](const NormPack<kSide, T>& pack) {
    if (pack.place < 0) return;
    FullPack<T> result = {};
    if (pack.pixel >= 0) {
      result = pack.window.winners(k).template result<T, true>();
      if (is_stored) store_pack(a.y + (first + pack.pixel) * image.depth + channel, result);
    }
    to[pack.place] = result;
  };
  while (packs.is_there()) {
    const auto one = load(), other = load();  // both under way
    finish(one);
    finish(other);
  }
}

template <int kSide, typename T>
__global__ void __launch_bounds__(ForwardResident<T>::kThreads, 1)
    norm_forward_moments(const __grid_constant__ Norm<T> norm,
                         const __grid_constant__ NormWindows windows, const T* filter, T* y,
                         const __grid_constant__ ConvSizes s, ColumnGroups groups,
                         const __grid_constant__ ColumnMoments moments) {
  using Tile = ForwardResident<T>;
  begin_kernel();
  const auto image = ResidentImage<T>::of_x(s);
  copy_filters(filter, s, image, Tile::kThreads);
  end_copies();
  normalize_image<kSide>(norm, windows, image, blockIdx.y == 0, Tile::kThreads);
  typename Tile::Sums sums = {};
  add_resident_products<Tile>(s, image, sums);
  store_with_moments<Tile>(sums, y, s, ForwardImage(s), groups, moments);
}

// x, scale, offset, mean, variance, and perhaps a bias -> y.
template <typename T>
Norm<T> norm_arguments(const ConvNormCall& norm) {
  const KernelCall& call = norm.call;
  return {.x = call.input<T>(0),
          .scale = call.input<float>(1),
          .offset = call.input<float>(2),
          .mean = call.input<float>(3),
          .variance = call.input<float>(4),
          .bias = norm_bias<float>(call, 5),
          .epsilon = static_cast<float>(norm.epsilon),
          .y = call.output<T>(0)};
}

template <int kSide, typename T>
void launch_norm(const char* name, const ConvGeometry& g, const ConvGemmCall& call,
                 const ConvNormCall& norm) {
  launch(name, norm_forward_moments<kSide, T>, shape_of<ForwardResident<T>, ForwardImage>(g),
         call.stream, norm_arguments<T>(norm), norm.windows, static_cast<const T*>(call.filter),
         static_cast<T*>(call.result), ConvSizes(g), groups_of<ForwardImage>(g), moments_of(call));
}

}  // namespace

void conv_gemm_norm_moments(const ConvGeometry& g, ConvGemmMath math, const ConvGemmCall& call,
                            const ConvNormCall& norm) {
  const auto launch_as = [&]<typename T>(const char* name) {
    if (norm.windows.known_side() == 2) return launch_norm<2, T>(name, g, call, norm);
    launch_norm<1, T>(name, g, call, norm);
  };
  if (math == ConvGemmMath::bf16) return launch_as.operator()<Bf16>("conv_gemm_bf16_norm_moments");
  launch_as.operator()<float>("conv_gemm_tf32_norm_moments");
}

}  // namespace adjoint::cuda
