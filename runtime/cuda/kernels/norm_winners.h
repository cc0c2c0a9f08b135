// What a batch norm's channels and windows give, for kernels: h = factor (x - mean) + offset, and
// the winner of a window, the first of its largest h.
//
//   const NormChannels<P, kVec> k(channel, scale, offset, mean, variance, bias, epsilon);
//   const auto winners = find_winners<2>(windows, k, x + first_pixel(windows, i) * channels +
//   channel,
//                                        channels);
#pragma once

#include <cmath>

#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernels/batch_moments.h"
#include "runtime/cuda/kernels/norm_windows.h"

namespace adjoint::cuda {

#if defined(__CUDACC__) || defined(ADJOINT_FAKE_CUDA)

template <typename C>
__device__ inline C norm_factor(C scale, C variance, C epsilon) {
  return scale * (C{1} / std::sqrt(variance + epsilon));
}

// h of kVec channels. Moments may be of a wider type than the elements.
template <typename P, int kVec>
struct NormChannels {
  Compute<P> factor[kVec], mean[kVec], offset[kVec], bias[kVec];

  template <typename M>
  __device__ NormChannels(int64_t channel, const P* scale, const P* offset, const M* mean,
                          const M* variance, const P* bias, Compute<P> epsilon) {
    const auto scales = load_pack<kVec>(scale + channel);
    const auto means = load_pack<kVec>(mean + channel);
    const auto variances = load_pack<kVec>(variance + channel);
    const auto offsets = pack_or_zero<kVec>(offset, channel);
    const auto biases = pack_or_zero<kVec>(bias, channel);
    for (int v = 0; v < kVec; ++v) {
      factor[v] = norm_factor<Compute<P>>(widen(scales[v]), widen(variances[v]), epsilon);
      this->mean[v] = widen(means[v]);
      this->offset[v] = widen(offsets[v]);
      this->bias[v] = widen(biases[v]);
    }
  }
  template <typename X>
  __device__ Compute<P> centred(X x, int v) const {
    return (widen(x) + bias[v]) - mean[v];
  }
  __device__ Compute<P> normal(Compute<P> centred, int v) const {
    return factor[v] * centred + offset[v];
  }
};

// The winner of each channel's window: its number, h, and x - mean; the sum of all x - mean.
template <typename P, int kVec>
struct NormWinners {
  using C = Compute<P>;
  int tap[kVec] = {};
  C normal[kVec], centred[kVec], distances[kVec] = {};

  template <typename X>
  __device__ void see(const NormChannels<P, kVec>& k, int number, const Pack<X, kVec>& x) {
    for (int v = 0; v < kVec; ++v) {
      const C distance = k.centred(x[v], v), value = k.normal(distance, v);
      distances[v] += distance;
      if (number != 0 && !beats(value, normal[v])) continue;
      tap[v] = number;
      normal[v] = value;
      centred[v] = distance;
    }
  }
  // Of h, or of relu(h), as it is stored.
  template <typename Y, bool kRelu>
  __device__ Pack<Y, kVec> result() const {
    Pack<Y, kVec> result;
    for (int v = 0; v < kVec; ++v) {
      result[v] = narrow<Y>(kRelu && normal[v] < 0 ? C{0} : normal[v]);
    }
    return result;
  }
};

// A window whose side is known: all its loads are under way at once.
template <typename X, int kVec, int kSide>
struct KnownWindow {
  Pack<X, kVec> packs[kSide * kSide];

  KnownWindow() = default;
  __device__ KnownWindow(const NormWindows& w, const X* x, int64_t channels) {
    for (int t = 0; t < kSide * kSide; ++t) packs[t] = load_pack<kVec>(x + offset(w, channels, t));
  }
  __device__ void store(const NormWindows& w, X* to, int64_t channels) const {
    for (int t = 0; t < kSide * kSide; ++t) store_pack(to + offset(w, channels, t), packs[t]);
  }
  __device__ static int64_t offset(const NormWindows& w, int64_t channels, int tap) {
    return (tap / kSide * w.width + tap % kSide) * channels;
  }
  // One of the channels alone.
  __device__ KnownWindow<X, 1, kSide> channel(int v) const {
    KnownWindow<X, 1, kSide> result;
    for (int t = 0; t < kSide * kSide; ++t) result.packs[t][0] = packs[t][v];
    return result;
  }
  template <typename P>
  __device__ NormWinners<P, kVec> winners(const NormChannels<P, kVec>& k) const {
    NormWinners<P, kVec> result;
    for (int t = 0; t < kSide * kSide; ++t) result.see(k, t, packs[t]);
    return result;
  }
};

// Of the window whose first pixel is at `x`; its side may be known.
template <int kSide, int kVec, typename P, typename X>
__device__ inline NormWinners<P, kVec> find_winners(const NormWindows& w,
                                                    const NormChannels<P, kVec>& k, const X* x,
                                                    int64_t channels) {
  if constexpr (kSide != 0) return KnownWindow<X, kVec, kSide>(w, x, channels).winners(k);
  NormWinners<P, kVec> winners;
  for (int i = 0, number = 0; i < w.window_y; ++i) {
    for (int j = 0; j < w.window_x; ++j, ++number) {
      winners.see(k, number, load_pack<kVec>(x + (i * w.width + j) * channels));
    }
  }
  return winners;
}

#endif

}  // namespace adjoint::cuda
