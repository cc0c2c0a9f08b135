// Batch normalisation, alone and together with relu and a max pool, forward and backward: what
// norm.cu and norm_relu.cu share. Each way is two launches, one reduces per channel, one writes; or
// a single one, where there are few rows.
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
#include "runtime/cuda/kernels/norm_winners.h"
#include "runtime/cuda/kernels/visit.h"

namespace adjoint::cuda {

#if defined(__CUDACC__) || defined(ADJOINT_FAKE_CUDA)

// Moments may be of a wider type than the vectors; offset and bias may be missing.
template <typename X, typename Y, typename P, typename M>
struct NormArguments {
  const X* x;
  const P *scale, *offset;
  const M *mean, *variance;
  const P* bias;
  Compute<P> epsilon;
  Y* y;
};

template <int kVec, bool kRelu, int kSide, typename X, typename Y, typename P, typename M>
__device__ inline void write_norm(const Columns& columns, const NormWindows& windows,
                                  const NormArguments<X, Y, P, M>& a) {
  const ColumnPlace<kVec> at(columns);
  if (!at.inside) return;
  const NormChannels<P, kVec> k(at.channel, a.scale, a.offset, a.mean, a.variance, a.bias,
                                a.epsilon);
  const RowRange rows = at.rows(columns);
  for (int64_t row = rows.begin; row < rows.end; row += rows.step) {
    const X* from = a.x + first_pixel(windows, row) * columns.channels + at.channel;
    const auto winners = find_winners<kSide>(windows, k, from, columns.channels);
    Pack<Y, kVec> result;
    for (int v = 0; v < kVec; ++v) {
      const Compute<P> h = winners.normal[v];
      result[v] = narrow<Y>(kRelu && h < 0 ? Compute<P>{0} : h);
    }
    store_pack(a.y + row * columns.channels + at.channel, result);
  }
}

template <int kVec, bool kRelu, int kSide, typename X, typename Y, typename P, typename M>
__global__ void normalize(Columns columns, NormWindows windows, NormArguments<X, Y, P, M> a) {
  begin_kernel();
  write_norm<kVec, kRelu, kSide>(columns, windows, a);
}

// And the moments, where each block has all rows of its channels and windows are pixels.
template <int kVec, bool kRelu, typename X, typename Y, typename P, typename M>
__global__ void norm_in_one(Columns columns, NormWindows windows, NormArguments<X, Y, P, M> a,
                            MomentResults<P> moments) {
  begin_kernel();
  reduce_moments<kVec>(columns, a.x, a.bias, nullptr, nullptr, moments);
  write_norm<kVec, kRelu, 1>(columns, windows, a);
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
__device__ inline void reduce_norm_grad(const Columns& columns, const NormWindows& windows,
                                        NormSums* partials, unsigned* tickets,
                                        const NormGradArguments<X, Y, P>& a) {
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
__device__ inline void write_norm_grad(const Columns& columns, const NormWindows& windows,
                                       const NormGradArguments<X, Y, P>& a) {
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

template <int kVec, bool kRelu, int kSide, typename X, typename Y, typename P>
__global__ void norm_grad_sums(Columns columns, NormWindows windows, NormSums* partials,
                               unsigned* tickets, NormGradArguments<X, Y, P> a) {
  begin_kernel();
  reduce_norm_grad<kVec, kRelu, kSide>(columns, windows, partials, tickets, a);
}

template <int kVec, bool kRelu, int kSide, typename X, typename Y, typename P>
__global__ void norm_grad_write(Columns columns, NormWindows windows,
                                NormGradArguments<X, Y, P> a) {
  begin_kernel();
  write_norm_grad<kVec, kRelu, kSide>(columns, windows, a);
}

// Both, where each block has all rows of its channels and windows are pixels.
template <int kVec, bool kRelu, typename X, typename Y, typename P>
__global__ void norm_grad_in_one(Columns columns, NormWindows windows,
                                 NormGradArguments<X, Y, P> a) {
  begin_kernel();
  reduce_norm_grad<kVec, kRelu, 1>(columns, windows, nullptr, nullptr, a);
  write_norm_grad<kVec, kRelu, 1>(columns, windows, a);
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
    if constexpr (kNarrow) {
      forward(call, results, arguments<C>(call, wide, wide + channels_, 3));
    } else {
      forward(call, results, arguments<P>(call, call.output<P>(1), call.output<P>(2), 3));
    }
  }

  // x, scale, offset, mean, variance -> y.
  void inference(const KernelCall& call) const {
    if (channels_ > 0) write(call, arguments<P>(call, call.input<P>(3), call.input<P>(4), 5));
  }

  // dy, x, scale, and offset with relu; mean, variance -> dx, dscale, doffset, and
  // perhaps dbias (where windows cover x).
  void backward(const KernelCall& call) const {
    const Columns columns = reducing(windows_.windows, windows_.taps());
    if (!in_one(columns) || channels_ == 0) {
      backward_sums(call);
      return backward_write(call);
    }
    visit_pack<C>(channels_, [&]<int kVec>() {
      launch("norm_grad_in_one", norm_grad_in_one<kVec, kRelu, X, Y, P>,
             columns.template reducing_shape<NormSums>(), call.stream, columns, windows_,
             grad_arguments(call));
    });
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

  // Whether one launch does both: the block that reduces some channels has all their rows, and each
  // thread only a few.
  bool in_one(const Columns& columns) const {
    return windows_.windows == windows_.pixels && columns.splits == 1 &&
           columns.rows <= 4 * columns.depth;
  }

  template <typename M>
  NormArguments<X, Y, P, M> arguments(const KernelCall& call, const M* mean, const M* variance,
                                      size_t bias) const {
    return {call.input<X>(0), call.input<P>(1),         call.input<P>(2), mean,
            variance,         norm_bias<P>(call, bias), epsilon_,         call.output<Y>(0)};
  }
  NormGradArguments<X, Y, P> grad_arguments(const KernelCall& call) const {
    return {call, kRelu, channels_, epsilon_};
  }

  template <typename M>
  void forward(const KernelCall& call, const MomentResults<P>& results,
               const NormArguments<X, Y, P, M>& arguments) const {
    const Columns columns = reducing(windows_.pixels);
    if (in_one(columns)) {
      return visit_pack<C>(channels_, [&]<int kVec>() {
        launch("norm_in_one", norm_in_one<kVec, kRelu, X, Y, P, M>,
               columns.template reducing_shape<Sums>(), call.stream, columns, windows_, arguments,
               results);
      });
    }
    launch_channel_moments(columns, call, arguments.x, arguments.bias, partials<Sums>(call),
                           results);
    write(call, arguments);
  }

  template <typename M>
  void write(const KernelCall& call, const NormArguments<X, Y, P, M>& arguments) const {
    if (windows_.windows == 0) return;
    const Columns columns = writing(windows_.windows);
    visit_windows([&]<int kVec, int kSide>() {
      launch("normalize", normalize<kVec, kRelu, kSide, X, Y, P, M>, columns.shape(), call.stream,
             columns, windows_, arguments);
    });
  }

  NormWindows windows_;
  int64_t channels_;
  C epsilon_;
};

#endif

}  // namespace adjoint::cuda
