// The launch that takes the mean and variance of each channel, for batch_norm.h and
// channel_moments.h.
//
//   launch_channel_moments(columns, call, x, bias, partials, MomentResults<P>{...});
//
// x is stored as X, vectors are of P; all is added in double.
#pragma once

#include "runtime/cuda/device/columns.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/visit.h"

namespace adjoint::cuda {

#if defined(__CUDACC__) || defined(ADJOINT_FAKE_CUDA)

// Numbers of kVec channels, from a vector that may be missing.
template <int kVec, typename T>
__device__ inline Pack<T, kVec> pack_or_zero(const T* vector, int64_t channel) {
  Pack<T, kVec> zero;
  for (int v = 0; v < kVec; ++v) zero[v] = narrow<T>(Compute<T>{0});
  return vector == nullptr ? zero : load_pack<kVec>(vector + channel);
}

// The results go where they are not null: rounded as outputs, and as they are for the next launch.
template <typename P>
struct MomentResults {
  P *mean, *variance;
  Compute<P>*wide_mean, *wide_variance;

  __device__ void store(int64_t channel, double average, double spread) const {
    const auto m = static_cast<Compute<P>>(average), s = static_cast<Compute<P>>(spread);
    mean[channel] = narrow<P>(m);
    variance[channel] = narrow<P>(s);
    if (wide_mean == nullptr) return;
    wide_mean[channel] = m;
    wide_variance[channel] = s;
  }
};

// Sums of the distances from the first row and of their squares: what all values have in common
// costs no digits. Nor does the difference that gives the variance: the first row is one of `rows`,
// so that its squared distance from the mean is at most `rows` times the variance.
template <int kVec, typename X, typename P>
__device__ inline bool reduce_moments(const Columns& columns, const X* x, const P* bias,
                                      Sums* partials, unsigned* tickets,
                                      const MomentResults<P>& results) {
  using C = Compute<P>;
  return reduce_columns<kVec>(
      columns, partials, tickets,
      [&](int64_t channel, RowRange rows, Sums(&sums)[kVec]) {
        if (rows.begin >= rows.end) return;
        const X* from = x + channel;
        const auto biases = pack_or_zero<kVec>(bias, channel);
        const auto firsts = load_pack<kVec>(from);
        C shift[kVec], first[kVec];
        for (int v = 0; v < kVec; ++v) {
          shift[v] = widen(biases[v]);
          first[v] = widen(firsts[v]) + shift[v];
        }
        const auto add = [&](const Pack<X, kVec>& pack) {
          for (int v = 0; v < kVec; ++v) {
            const double distance = (widen(pack[v]) + shift[v]) - first[v];
            sums[v].add(distance, distance * distance);
          }
        };
        const int64_t step = rows.step * columns.channels;
        int64_t row = rows.begin, at = row * columns.channels;
        for (; row + 3 * rows.step < rows.end; row += 4 * rows.step, at += 4 * step) {
          const auto a = load_pack<kVec>(from + at), b = load_pack<kVec>(from + at + step);
          const auto c = load_pack<kVec>(from + at + 2 * step);
          const auto d = load_pack<kVec>(from + at + 3 * step);
          add(a), add(b), add(c), add(d);
        }
        for (; row < rows.end; row += rows.step, at += step) add(load_pack<kVec>(from + at));
      },
      [&](int64_t channel, const Sums& sums) {
        const double count = static_cast<double>(columns.rows), apart = sums.first / count;
        const double spread = (sums.second - sums.first * apart) / count;
        const C first =
            columns.rows == 0 ? C{0} : widen(x[channel]) + widen(pack_or_zero<1>(bias, channel)[0]);
        results.store(channel, first + apart, spread < 0 ? 0 : spread);
      });
}

template <typename X, typename P, int kVec>
__global__ void channel_moments(Columns columns, const X* x, const P* bias, Sums* partials,
                                unsigned* tickets, MomentResults<P> results) {
  begin_kernel();
  reduce_moments<kVec>(columns, x, bias, partials, tickets, results);
}

template <typename X, typename P>
void launch_channel_moments(const Columns& columns, const KernelCall& call, const X* x,
                            const P* bias, Sums* partials, const MomentResults<P>& results) {
  visit_pack<Compute<P>>(columns.channels, [&]<int kVec>() {
    launch("channel_moments", channel_moments<X, P, kVec>, columns.template reducing_shape<Sums>(),
           call.stream, columns, x, bias, partials, call.tickets, results);
  });
}

#endif

}  // namespace adjoint::cuda
