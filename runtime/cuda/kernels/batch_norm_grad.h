// The backward of batch normalisation, alone and together with relu and a max pool: device code and
// kernels, which BatchNorm (batch_norm.h) launches.
//
//   const NormGradArguments<X, Y, P> arguments(call, relu, channels, epsilon);
//   launch("norm_grad_in_one", norm_grad_in_one<4, true, 2, X, Y, P>,
//          columns.reducing_shape<NormSums>(), call.stream, columns, windows, arguments);
//
// The sums of each channel give dscale, doffset and what dx takes of them; each window's winner is
// found again.
#pragma once

#include <cmath>
#include <utility>

#include "runtime/cuda/device/columns.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/norm_winners.h"

namespace adjoint::cuda {

#if defined(__CUDACC__) || defined(ADJOINT_FAKE_CUDA)

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
__device__ inline KnownWindow<X, kVec, kSide> window_grad(const NormChannels<P, kVec>& k,
                                                          WindowGrad<P, kVec> grad,
                                                          KnownWindow<X, kVec, kSide> pixels,
                                                          const Pack<Y, kVec>& dy) {
  grad.template give<kRelu>(k, pixels.winners(k), dy);
  for (int t = 0; t < kSide * kSide; ++t) pixels.packs[t] = grad.at(k, t, pixels.packs[t]);
  return pixels;
}

// The windows cover the images, and their side is known.
template <int kVec, bool kRelu, int kSide, typename X, typename Y, typename P>
__device__ inline void write_window(const NormWindows& w, const NormGradArguments<X, Y, P>& a,
                                    const NormChannels<P, kVec>& k, const WindowGrad<P, kVec>& grad,
                                    int64_t channels, int64_t channel, int64_t window) {
  const int64_t first = first_pixel(w, window) * channels + channel;
  const auto dy = load_pack<kVec>(a.dy + window * channels + channel);
  const KnownWindow<X, kVec, kSide> x(w, a.x + first, channels);
  window_grad<kRelu>(k, grad, x, dy).store(w, a.dx + first, channels);
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

// Calls body(0) to body(kCount - 1), so that arrays they index stay in registers.
template <int kCount, typename Body>
__device__ inline void unrolled(Body body) {
  [&]<int... i>(std::integer_sequence<int, i...>) { (body(i), ...); }
  (std::make_integer_sequence<int, kCount>());
}

// Both, where each block has all rows of its channels, and a thread few enough to keep what it has
// read of them. For the sums there are registers for one channel's numbers beside that.
template <int kVec, bool kRelu, int kSide, typename X, typename Y, typename P>
__global__ void __launch_bounds__(Columns::kMostThreads)
    norm_grad_in_one(Columns columns, NormWindows windows, NormGradArguments<X, Y, P> a) {
  begin_kernel();
  const ColumnPlace<kVec> at(columns);
  const int channels = static_cast<int>(columns.channels), channel = static_cast<int>(at.channel);
  const int end = at.inside ? static_cast<int>(columns.rows) : 0;
  int pixel[Columns::kReads];
  KnownWindow<X, kVec, kSide> x[Columns::kReads];
  Pack<Y, kVec> dy[Columns::kReads];
  const auto place = [&](int row) { return row * channels + channel; };
  // Calls body(i, window) for each of the thread's.
  const auto visit = [&](auto body) {
    unrolled<Columns::kReads>([&](int i) {
      const int window = at.depth + i * columns.depth;
      if (window < end) body(i, window);
    });
  };
  visit([&](int i, int window) { pixel[i] = static_cast<int>(first_pixel(windows, window)); });
  visit([&](int i, int window) {
    x[i] = KnownWindow<X, kVec, kSide>(windows, a.x + place(pixel[i]), channels);
    dy[i] = load_pack<kVec>(a.dy + place(window));
  });
  const ColumnTable<kVec, NormSums> table(columns);
  unrolled<kVec>([&](int v) {
    NormSums sums;
    if (at.inside) {
      const NormChannels<P, 1> k(channel + v, a.scale, a.offset, a.mean, a.variance, a.bias,
                                 a.epsilon);
      visit([&](int i, int) {
        sums.template add<kRelu>(x[i].channel(v).winners(k), 0, widen(dy[i][v]));
      });
    }
    table.put(v, sums);
  });
  table.reduce(columns, nullptr, nullptr, [&](int64_t channel, const NormSums& sums) {
    a.store(channel, sums, windows.pixels);
  });
  if (!at.inside) return;
  const NormChannels<P, kVec> k(channel, a.scale, a.offset, a.mean, a.variance, a.bias, a.epsilon);
  const WindowGrad<P, kVec> grad(a.shift + channel, a.slope + channel);
  visit([&](int i, int) {
    window_grad<kRelu>(k, grad, x[i], dy[i]).store(windows, a.dx + place(pixel[i]), channels);
  });
}

#endif

}  // namespace adjoint::cuda
