// Layer normalisation, forward and backward: what norm.cu launches. Rows are normalised each by its
// own threads; the gradients of scale and offset are sums over rows, per column.
//
//   const LayerNorm<float> norm(x_dims, epsilon);
//   norm.forward(call);
#pragma once

#include <cmath>
#include <vector>

#include "runtime/cuda/device/columns.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/device/row_group.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/visit.h"

namespace adjoint::cuda {

#if defined(__CUDACC__) || defined(ADJOINT_FAKE_CUDA)

struct LayerRows {
  int64_t rows;
  int64_t size;
  int lanes;
};

// The sum of term(i, v) over a row's elements i + v, whole packs from each thread; for all threads.
template <int kVec, typename Term>
__device__ inline double row_sum(const RowGroup& group, const LayerRows& rows, Term term) {
  double sum = 0;
  if (group.row < rows.rows) {
    for (int64_t i = int64_t{group.lane} * kVec; i < rows.size; i += int64_t{group.size} * kVec) {
      sum += term(i);
    }
  }
  return group.reduce(sum, Add());
}

template <typename T, int kVec>
__global__ void layer_norm(LayerRows rows, const T* x, const T* scale, const T* offset,
                           Compute<T> epsilon, T* y, T* mean, T* variance) {
  begin_kernel();
  using C = Compute<T>;
  const RowGroup group(rows.lanes);
  const T* from = x + group.row * rows.size;
  const double count = static_cast<double>(rows.size);
  const double middle = row_sum<kVec>(group, rows,
                                      [&](int64_t i) {
                                        const auto pack = load_pack<kVec>(from + i);
                                        double sum = 0;
                                        for (int v = 0; v < kVec; ++v) sum += widen(pack[v]);
                                        return sum;
                                      }) /
                        count;
  const double spread = row_sum<kVec>(group, rows,
                                      [&](int64_t i) {
                                        const auto pack = load_pack<kVec>(from + i);
                                        double sum = 0;
                                        for (int v = 0; v < kVec; ++v) {
                                          const double distance = widen(pack[v]) - middle;
                                          sum += distance * distance;
                                        }
                                        return sum;
                                      }) /
                        count;
  if (group.row >= rows.rows) return;
  const C m = static_cast<C>(middle);
  const C factor = static_cast<C>(1 / std::sqrt(spread + epsilon));
  if (group.lane == 0) {
    mean[group.row] = narrow<T>(m);
    variance[group.row] = narrow<T>(static_cast<C>(spread));
  }
  for (int64_t i = int64_t{group.lane} * kVec; i < rows.size; i += int64_t{group.size} * kVec) {
    const auto pack = load_pack<kVec>(from + i), s = load_pack<kVec>(scale + i);
    const auto o = load_pack<kVec>(offset + i);
    Pack<T, kVec> result;
    for (int v = 0; v < kVec; ++v) {
      result[v] = narrow<T>((widen(pack[v]) - m) * factor * widen(s[v]) + widen(o[v]));
    }
    store_pack(y + group.row * rows.size + i, result);
  }
}

template <typename T>
struct LayerGradArguments {
  const T *dy, *x, *scale, *mean, *variance;
  Compute<T> epsilon;
  T *dx, *dscale, *doffset;

  __device__ Compute<T> inverse(int64_t row) const {
    return Compute<T>{1} / std::sqrt(widen(variance[row]) + epsilon);
  }
};

template <typename T, int kVec>
__global__ void layer_grad_sums(Columns columns, Sums* partials, unsigned* tickets,
                                LayerGradArguments<T> a) {
  begin_kernel();
  reduce_columns<kVec>(
      columns, partials, tickets,
      [&](int64_t channel, RowRange rows, Sums(&sums)[kVec]) {
        for (int64_t row = rows.begin; row < rows.end; row += rows.step) {
          const int64_t at = row * columns.channels + channel;
          const auto dy = load_pack<kVec>(a.dy + at), x = load_pack<kVec>(a.x + at);
          const double mean = widen(a.mean[row]), inverse = a.inverse(row);
          for (int v = 0; v < kVec; ++v) {
            const double d = widen(dy[v]), z = (widen(x[v]) - mean) * inverse;
            sums[v].add(d * z, d);
          }
        }
      },
      [&](int64_t channel, const Sums& sums) {
        a.dscale[channel] = narrow<T>(static_cast<Compute<T>>(sums.first));
        a.doffset[channel] = narrow<T>(static_cast<Compute<T>>(sums.second));
      });
}

template <typename T, int kVec>
__global__ void layer_grad_write(LayerRows rows, LayerGradArguments<T> a) {
  begin_kernel();
  using C = Compute<T>;
  const RowGroup group(rows.lanes);
  const bool inside = group.row < rows.rows;
  const int64_t first = group.row * rows.size;
  const C mean = inside ? widen(a.mean[group.row]) : C{0};
  const C inverse = inside ? a.inverse(group.row) : C{0};
  // Adds use(h, z) of a pack.
  auto sum_pack = [&](int64_t i, auto use) {
    const auto dy = load_pack<kVec>(a.dy + first + i), x = load_pack<kVec>(a.x + first + i);
    const auto scale = load_pack<kVec>(a.scale + i);
    double sum = 0;
    for (int v = 0; v < kVec; ++v) {
      sum += use(static_cast<double>(widen(dy[v])) * static_cast<double>(widen(scale[v])),
                 (static_cast<double>(widen(x[v])) - mean) * inverse);
    }
    return sum;
  };
  const double count = static_cast<double>(rows.size);
  const C h_mean = static_cast<C>(
      row_sum<kVec>(group, rows,
                    [&](int64_t i) { return sum_pack(i, [](double h, double) { return h; }); }) /
      count);
  const C slope =
      static_cast<C>(row_sum<kVec>(group, rows,
                                   [&](int64_t i) {
                                     return sum_pack(i, [](double h, double z) { return h * z; });
                                   }) /
                     count);
  if (!inside) return;
  for (int64_t i = int64_t{group.lane} * kVec; i < rows.size; i += int64_t{group.size} * kVec) {
    const auto dy = load_pack<kVec>(a.dy + first + i), x = load_pack<kVec>(a.x + first + i);
    const auto scale = load_pack<kVec>(a.scale + i);
    Pack<T, kVec> result;
    for (int v = 0; v < kVec; ++v) {
      const C z = (widen(x[v]) - mean) * inverse;
      result[v] = narrow<T>(inverse * (widen(dy[v]) * widen(scale[v]) - h_mean - z * slope));
    }
    store_pack(a.dx + first + i, result);
  }
}

// The launches, for elements T.
template <typename T>
class LayerNorm {
 public:
  LayerNorm(const std::vector<int64_t>& x, double epsilon)
      : epsilon_(static_cast<Compute<T>>(epsilon)) {
    rows_.size = x.back();
    rows_.rows = 1;
    for (size_t axis = 0; axis + 1 < x.size(); ++axis) rows_.rows *= x[axis];
    const int vec = rows_.size % kFullPack<T> == 0 ? kFullPack<T> : 1;
    rows_.lanes = row_lanes(std::max<int64_t>(rows_.size / vec, 1), 1, rows_.rows);
  }

  size_t backward_bytes() const { return columns().template partial_bytes<Sums>(); }

  // x, scale, offset -> y, mean, variance.
  void forward(const KernelCall& call) const {
    if (rows_.rows == 0) return;
    visit_pack<T>(rows_.size, [&]<int kVec>() {
      launch("layer_norm", layer_norm<T, kVec>, row_shape(rows_.lanes, rows_.rows), call.stream,
             rows_, call.input<T>(0), call.input<T>(1), call.input<T>(2), epsilon_,
             call.output<T>(0), call.output<T>(1), call.output<T>(2));
    });
  }

  // dy, x, scale, mean, variance -> dx, dscale, doffset.
  void backward(const KernelCall& call) const {
    if (rows_.size == 0) return;
    const LayerGradArguments<T> arguments{call.input<T>(0),  call.input<T>(1),  call.input<T>(2),
                                          call.input<T>(3),  call.input<T>(4),  epsilon_,
                                          call.output<T>(0), call.output<T>(1), call.output<T>(2)};
    visit_pack<T>(rows_.size, [&]<int kVec>() {
      // dx may lie where dy or x does: it comes last.
      launch("layer_grad_sums", layer_grad_sums<T, kVec>, columns().template reducing_shape<Sums>(),
             call.stream, columns(), static_cast<Sums*>(call.workspace), call.tickets, arguments);
      if (rows_.rows == 0) return;
      launch("layer_grad_write", layer_grad_write<T, kVec>, row_shape(rows_.lanes, rows_.rows),
             call.stream, rows_, arguments);
    });
  }

 private:
  Columns columns() const {
    const int vec = rows_.size % kFullPack<T> == 0 ? kFullPack<T> : 1;
    return Columns::to_reduce(rows_.rows, rows_.size, vec, kTickets);
  }

  LayerRows rows_;
  Compute<T> epsilon_;
};

#endif

}  // namespace adjoint::cuda
