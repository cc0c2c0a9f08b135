// Batch normalisation, alone and together with relu and a max pool, forward and backward: what
// norm.cu and norm_relu.cu share. Each way is two launches: one reduces per channel, one writes.
//
//   const BatchNorm<Bf16, Bf16, float, true> norm(x_dims, &pool, epsilon);
//   facts.workspace_bytes = norm.forward_bytes();
//   norm.forward(call);
//
// With h = factor (x - mean) + offset, factor = scale / sqrt(variance + epsilon): y is h, relu(h),
// or the largest relu(h) of a window. The mean is not drawn into the offset: of a mean far from
// zero that would cost digits. Nothing between is stored; the backward finds each window's winner
// again. A bias, where there is one, is added to x as it is read.
//
// x and dx are stored as X, y and dy as Y; vectors are of P, and all is computed in what P is
// computed in. What is stored in fewer bits is rounded once, as it is written.
#pragma once

#include <cmath>
#include <vector>

#include "ops/pool.h"
#include "runtime/cuda/device/columns.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/batch_moments.h"
#include "runtime/cuda/kernels/norm_windows.h"
#include "runtime/cuda/kernels/visit.h"

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
};

// A window whose side is known: all its loads are under way at once.
template <typename X, int kVec, int kSide>
struct KnownWindow {
  Pack<X, kVec> packs[kSide * kSide];

  KnownWindow() = default;
  __device__ KnownWindow(const NormWindows& w, const X* x, int64_t channels) {
    for (int t = 0; t < kSide * kSide; ++t) packs[t] = load_pack<kVec>(x + offset(w, channels, t));
  }
  __device__ static int64_t offset(const NormWindows& w, int64_t channels, int tap) {
    return (tap / kSide * w.width + tap % kSide) * channels;
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

template <typename X, typename Y, typename P, typename M, int kVec, bool kRelu, int kSide>
__global__ void normalize(Columns columns, NormWindows windows, const X* x, const P* scale,
                          const P* offset, const M* mean, const M* variance, const P* bias,
                          Compute<P> epsilon, Y* y) {
  begin_kernel();
  const ColumnPlace<kVec> at(columns);
  if (!at.inside) return;
  const NormChannels<P, kVec> k(at.channel, scale, offset, mean, variance, bias, epsilon);
  const RowRange rows = at.rows(columns);
  for (int64_t row = rows.begin; row < rows.end; row += rows.step) {
    const X* from = x + first_pixel(windows, row) * columns.channels + at.channel;
    const auto winners = find_winners<kSide>(windows, k, from, columns.channels);
    Pack<Y, kVec> result;
    for (int v = 0; v < kVec; ++v) {
      const Compute<P> h = winners.normal[v];
      result[v] = narrow<Y>(kRelu && h < 0 ? Compute<P>{0} : h);
    }
    store_pack(y + row * columns.channels + at.channel, result);
  }
}

// Of the cotangents dh of h, of dh (x - mean), and of x - mean.
struct NormSums {
  double dh = 0;
  double product = 0;
  double distance = 0;

  // Of a window, whose winner dy is for.
  template <bool kRelu, typename P, int kVec>
  __device__ void add(const NormWinners<P, kVec>& winners, int v, double dy) {
    distance += winners.distances[v];
    if (kRelu && !(winners.normal[v] > 0)) return;
    dh += dy;
    product += dy * static_cast<double>(winners.centred[v]);
  }
  __device__ void merge(const NormSums& other) {
    dh += other.dh;
    product += other.product;
    distance += other.distance;
  }
};

// Where a call has a bias: null, if it has none.
template <typename P>
const P* norm_bias(const KernelCall& call, size_t index) {
  return index < call.inputs.size() ? call.input<P>(index) : nullptr;
}

// Of dy, x, scale, and offset with relu; mean, variance and perhaps a bias -> dx, dscale, doffset,
// and perhaps dbias. Two vectors are in the workspace.
template <typename X, typename Y, typename P>
struct NormGradArguments {
  const Y* dy;
  const X* x;
  const P *scale, *offset, *mean, *variance, *bias;
  Compute<P> epsilon;
  X* dx;
  P *dscale, *doffset, *dbias;  // dbias may be missing
  // dx = factor dh + shift + slope (x - mean), with dh the cotangent of h.
  Compute<P>*shift, *slope;

  NormGradArguments(const KernelCall& call, bool relu, int64_t channels, Compute<P> epsilon)
      : dy(call.input<Y>(0)),
        x(call.input<X>(1)),
        scale(call.input<P>(2)),
        offset(relu ? call.input<P>(3) : nullptr),
        mean(call.input<P>(relu ? 4 : 3)),
        variance(call.input<P>(relu ? 5 : 4)),
        bias(norm_bias<P>(call, relu ? 6 : 5)),
        epsilon(epsilon),
        dx(call.output<X>(0)),
        dscale(call.output<P>(1)),
        doffset(call.output<P>(2)),
        dbias(call.outputs.size() > 3 ? call.output<P>(3) : nullptr),
        shift(static_cast<Compute<P>*>(call.workspace)),
        slope(shift + channels) {}
  // Of both, up to where more of the workspace may be used.
  static size_t vector_bytes(int64_t channels) {
    return (2 * channels * sizeof(Compute<P>) + 63) / 64 * 64;
  }

  __device__ void store(int64_t c, const NormSums& sums, int64_t pixels) const {
    const double inverse = 1 / std::sqrt(static_cast<double>(widen(variance[c])) + epsilon);
    const double count = static_cast<double>(pixels);
    const Compute<P> s = widen(scale[c]);
    const double rise = -(s * inverse) * (inverse * inverse) * (sums.product / count);
    doffset[c] = narrow<P>(static_cast<Compute<P>>(sums.dh));
    dscale[c] = narrow<P>(static_cast<Compute<P>>(pixels == 0 ? 0 : sums.product * inverse));
    slope[c] = static_cast<Compute<P>>(rise);
    // Of the same factor as the winners': else the sum of dx, zero but for rounding, would be off.
    const auto factor = norm_factor<Compute<P>>(s, widen(variance[c]), epsilon);
    shift[c] = static_cast<Compute<P>>(-factor * (sums.dh / count));
    if (dbias == nullptr) return;
    // The sum of dx: those of factor dh and of shift cancel.
    dbias[c] = narrow<P>(static_cast<Compute<P>>(pixels == 0 ? 0 : rise * sums.distance));
  }
};

template <int kVec, bool kRelu, int kSide, typename X, typename Y, typename P>
__global__ void norm_grad_sums(Columns columns, NormWindows windows, NormSums* partials,
                               unsigned* tickets, NormGradArguments<X, Y, P> a) {
  begin_kernel();
  reduce_columns<kVec>(
      columns, partials, tickets,
      [&](int64_t channel, RowRange rows, NormSums(&sums)[kVec]) {
        const NormChannels<P, kVec> k(channel, a.scale, a.offset, a.mean, a.variance, a.bias,
                                      a.epsilon);
        for (int64_t row = rows.begin; row < rows.end; row += rows.step) {
          const X* from = a.x + first_pixel(windows, row) * columns.channels + channel;
          const auto dy = load_pack<kVec>(a.dy + row * columns.channels + channel);
          const auto winners = find_winners<kSide>(windows, k, from, columns.channels);
          for (int v = 0; v < kVec; ++v) {
            sums[v].template add<kRelu>(winners, v, widen(dy[v]));
          }
        }
      },
      [&](int64_t channel, const NormSums& sums) { a.store(channel, sums, windows.pixels); });
}

// dx of a window's pixels.
template <typename P, int kVec>
struct WindowGrad {
  using C = Compute<P>;
  int winner[kVec];
  C own[kVec];  // what the winner gets of dy
  Pack<C, kVec> shift, slope;

  __device__ WindowGrad(const C* shift, const C* slope)
      : shift(load_pack<kVec>(shift)), slope(load_pack<kVec>(slope)) {
    for (int v = 0; v < kVec; ++v) winner[v] = -1, own[v] = 0;
  }
  template <bool kRelu, typename Y>
  __device__ void give(const NormChannels<P, kVec>& k, const NormWinners<P, kVec>& winners,
                       const Pack<Y, kVec>& dy) {
    for (int v = 0; v < kVec; ++v) {
      if (kRelu && !(winners.normal[v] > 0)) continue;
      winner[v] = winners.tap[v];
      own[v] = k.factor[v] * widen(dy[v]);
    }
  }
  template <typename X>
  __device__ Pack<X, kVec> at(const NormChannels<P, kVec>& k, int tap,
                              const Pack<X, kVec>& x) const {
    Pack<X, kVec> result;
    for (int v = 0; v < kVec; ++v) {
      const C rest = shift[v] + slope[v] * k.centred(x[v], v);
      result[v] = narrow<X>(tap == winner[v] ? rest + own[v] : rest);
    }
    return result;
  }
};

// dx of a window's pixels, in their place.
template <bool kRelu, int kSide, int kVec, typename X, typename Y, typename P>
__device__ inline KnownWindow<X, kVec, kSide> window_grad(const NormWindows& w,
                                                          const NormChannels<P, kVec>& k,
                                                          WindowGrad<P, kVec> grad, const X* x,
                                                          const Y* dy, int64_t channels) {
  const auto given = load_pack<kVec>(dy);
  KnownWindow<X, kVec, kSide> pixels(w, x, channels);
  grad.template give<kRelu>(k, pixels.winners(k), given);
  for (int t = 0; t < kSide * kSide; ++t) pixels.packs[t] = grad.at(k, t, pixels.packs[t]);
  return pixels;
}

// The windows cover the images, and their side is known.
template <int kVec, bool kRelu, int kSide, typename X, typename Y, typename P>
__device__ inline void write_window(const NormWindows& w, const NormGradArguments<X, Y, P>& a,
                                    const NormChannels<P, kVec>& k, const WindowGrad<P, kVec>& grad,
                                    int64_t channels, int64_t channel, int64_t window) {
  const int64_t first = first_pixel(w, window) * channels + channel;
  const auto dx = window_grad<kRelu, kSide>(w, k, grad, a.x + first,
                                            a.dy + window * channels + channel, channels);
  for (int t = 0; t < kSide * kSide; ++t) {
    store_pack(a.dx + first + dx.offset(w, channels, t), dx.packs[t]);
  }
}

// Of a cell: its window, and the pixels that no window covers.
template <int kVec, bool kRelu, typename X, typename Y, typename P>
__device__ inline void write_cell(const NormWindows& w, const NormGradArguments<X, Y, P>& a,
                                  const NormChannels<P, kVec>& k, WindowGrad<P, kVec> grad,
                                  int64_t channels, int64_t channel, int64_t cell) {
  const Quotient row = divide(cell, w.cell_columns), image = divide(row.whole, w.cell_rows);
  const int i = static_cast<int>(image.rest), j = static_cast<int>(row.rest);
  const int64_t y = int64_t{i} * w.stride_y, x = int64_t{j} * w.stride_x;
  const bool plain = w.cells == w.pixels;  // and images are not told apart
  const int64_t pixel = plain ? cell : (image.whole * w.height + y) * w.width + x;
  const int64_t height = plain ? 1 : min(int64_t{w.stride_y}, w.height - y);
  const int64_t width = plain ? 1 : min(int64_t{w.stride_x}, w.width - x);
  const X* from = a.x + pixel * channels + channel;
  X* to = a.dx + pixel * channels + channel;
  if (plain || (i < w.rows && j < w.columns)) {
    const int64_t window = plain ? cell : (image.whole * w.rows + i) * w.columns + j;
    const auto dy = load_pack<kVec>(a.dy + window * channels + channel);
    grad.template give<kRelu>(k, find_winners<0>(w, k, from, channels), dy);
  }
  for (int p = 0; p < height; ++p) {
    for (int q = 0; q < width; ++q) {
      const int64_t offset = (p * w.width + q) * channels;
      const int tap = p < w.window_y && q < w.window_x ? p * w.window_x + q : -2;
      store_pack(to + offset, grad.at(k, tap, load_pack<kVec>(from + offset)));
    }
  }
}

template <int kVec, bool kRelu, int kSide, typename X, typename Y, typename P>
__global__ void norm_grad_write(Columns columns, NormWindows windows,
                                NormGradArguments<X, Y, P> a) {
  begin_kernel();
  const ColumnPlace<kVec> at(columns);
  if (!at.inside) return;
  const NormChannels<P, kVec> k(at.channel, a.scale, a.offset, a.mean, a.variance, a.bias,
                                a.epsilon);
  const WindowGrad<P, kVec> grad(a.shift + at.channel, a.slope + at.channel);
  const RowRange rows = at.rows(columns);
  for (int64_t row = rows.begin; row < rows.end; row += rows.step) {
    if constexpr (kSide != 0) {
      write_window<kVec, kRelu, kSide>(windows, a, k, grad, columns.channels, at.channel, row);
    } else {
      write_cell<kVec, kRelu>(windows, a, k, grad, columns.channels, at.channel, row);
    }
  }
}

// The launches.
template <typename X, typename Y, typename P, bool kRelu>
class BatchNorm {
 public:
  using C = Compute<P>;
  static constexpr bool kNarrow = sizeof(P) < sizeof(C);

  BatchNorm(const std::vector<int64_t>& x, const PoolAttributes* pool, double epsilon)
      : windows_(x, pool), channels_(x.back()), epsilon_(static_cast<C>(epsilon)) {}

  size_t forward_bytes() const {
    return vector_bytes() + reducing(windows_.pixels).template partial_bytes<Sums>();
  }
  size_t backward_bytes() const {
    return vector_bytes() +
           reducing(windows_.windows, windows_.taps()).template partial_bytes<NormSums>();
  }

  // x, scale, offset -> y, mean, variance. In all of these a bias is the last operand.
  void forward(const KernelCall& call) const {
    if (channels_ == 0) return;
    C* wide = kNarrow ? static_cast<C*>(call.workspace) : nullptr;
    const MomentResults<P> results{call.output<P>(1), call.output<P>(2), wide,
                                   kNarrow ? wide + channels_ : nullptr};
    const Columns columns = reducing(windows_.pixels);
    launch_channel_moments(columns, call, call.input<X>(0), norm_bias<P>(call, 3),
                           partials<Sums>(call), results);
    if constexpr (kNarrow) {
      write<C>(call, wide, wide + channels_, norm_bias<P>(call, 3));
    } else {
      write<P>(call, call.output<P>(1), call.output<P>(2), norm_bias<P>(call, 3));
    }
  }

  // x, scale, offset, mean, variance -> y.
  void inference(const KernelCall& call) const {
    if (channels_ > 0) write<P>(call, call.input<P>(3), call.input<P>(4), norm_bias<P>(call, 5));
  }

  // dy, x, scale, and offset with relu; mean, variance -> dx, dscale, doffset, and
  // perhaps dbias (where windows cover x).
  void backward(const KernelCall& call) const {
    backward_sums(call);
    backward_write(call);
  }
  // Its first half: all but dx, and NormGradArguments::store is called for each channel.
  void backward_sums(const KernelCall& call) const {
    if (channels_ == 0) return;
    const auto arguments = grad_arguments(call);
    const Columns sums = reducing(windows_.windows, windows_.taps());
    visit_windows([&]<int kVec, int kSide>() {
      launch("norm_grad_sums", norm_grad_sums<kVec, kRelu, kSide, X, Y, P>,
             sums.template reducing_shape<NormSums>(), call.stream, sums, windows_,
             partials<NormSums>(call), call.tickets, arguments);
    });
  }
  // Its second half: dx.
  void backward_write(const KernelCall& call) const {
    if (windows_.cells == 0 || channels_ == 0) return;
    const auto arguments = grad_arguments(call);
    const Columns cells = writing(windows_.cells);
    visit_windows([&]<int kVec, int kSide>() {
      launch("norm_grad_write", norm_grad_write<kVec, kRelu, kSide, X, Y, P>, cells.shape(),
             call.stream, cells, windows_, arguments);
    });
  }

 private:
  // Of a thread: as many as fit one access of what is computed with, so that there are threads
  // enough.
  static constexpr int kPack = kFullPack<C>;

  int vec() const { return channels_ % kPack == 0 ? kPack : 1; }
  Columns reducing(int64_t rows, int reads = 1) const {
    return Columns::to_reduce(rows, channels_, vec(), kTickets, reads);
  }
  Columns writing(int64_t rows) const { return Columns::to_write(rows, channels_, vec()); }

  // Calls body<kVec, kSide>().
  template <typename Body>
  void visit_windows(Body&& body) const {
    visit_pack<C>(channels_, [&]<int kVec>() {
      if constexpr (kRelu && kVec > 1) {
        if (windows_.known_side() == 2) return body.template operator()<kVec, 2>();
      }
      body.template operator()<kVec, 0>();
    });
  }

  // The workspace: two vectors of a C per channel, then partial sums.
  size_t vector_bytes() const { return NormGradArguments<X, Y, P>::vector_bytes(channels_); }
  template <typename Sum>
  Sum* partials(const KernelCall& call) const {
    return reinterpret_cast<Sum*>(static_cast<char*>(call.workspace) + vector_bytes());
  }

  NormGradArguments<X, Y, P> grad_arguments(const KernelCall& call) const {
    return {call, kRelu, channels_, epsilon_};
  }

  template <typename M>
  void write(const KernelCall& call, const M* mean, const M* variance, const P* bias) const {
    if (windows_.windows == 0) return;
    const Columns columns = writing(windows_.windows);
    visit_windows([&]<int kVec, int kSide>() {
      launch("normalize", normalize<X, Y, P, M, kVec, kRelu, kSide>, columns.shape(), call.stream,
             columns, windows_, call.input<X>(0), call.input<P>(1), call.input<P>(2), mean,
             variance, bias, epsilon_, call.output<Y>(0));
    });
  }

  NormWindows windows_;
  int64_t channels_;
  C epsilon_;
};

#endif

}  // namespace adjoint::cuda
