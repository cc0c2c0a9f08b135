// Kernels of layer_norm and its gradient: each row by itself, but for the sums over rows that scale
// and offset get, which are added up over shards in order.
#include <algorithm>
#include <cmath>

#include "ops/norm.h"
#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/widened.h"

namespace adjoint::cpu {
namespace {

constexpr int64_t kShardElements = 1 << 14;

struct Rows {
  explicit Rows(const TensorType& x)
      : size(x.dims.back()),
        count(size == 0 ? 0 : x.element_count() / size),
        shards(
            std::min(std::max<int64_t>(count, 1), shard_count(count * size, kShardElements, 32))) {}

  template <typename Body>
  void run(Threads& threads, Body body) const {
    threads.parallel_for(shards, [&](int64_t shard) {
      const int64_t end = shard_begin(count, shards, shard + 1);
      for (int64_t row = shard_begin(count, shards, shard); row < end; ++row) body(row, shard);
    });
  }

  int64_t size;
  int64_t count;
  int64_t shards;
};

// The mean of term(0) ... term(n - 1), in double and in eight parts, which vectorises.
template <typename Term>
[[gnu::always_inline]] inline double mean_of(int64_t n, Term term) {
  constexpr int kParts = 8;
  double parts[kParts] = {};
  int64_t i = 0;
  for (; i + kParts <= n; i += kParts) {
    for (int k = 0; k < kParts; ++k) parts[k] += term(i + k);
  }
  for (int k = 0; i < n; ++i, ++k) parts[k] += term(i);
  double sum = 0;
  for (double part : parts) sum += part;
  return sum / static_cast<double>(n);
}

template <typename T>
void layer_norm(const Rows& rows, double epsilon, const KernelCall& call) {
  const T *scale = call.input<T>(1), *offset = call.input<T>(2);
  rows.run(call.threads, [&](int64_t row, int64_t) {
    const T* x = call.input<T>(0) + row * rows.size;
    T* y = call.output<T>(0) + row * rows.size;
    const double mean = mean_of(rows.size, [x](int64_t i) { return double{x[i]}; });
    const double variance = mean_of(rows.size, [x, mean](int64_t i) {
      const double d = x[i] - mean;
      return d * d;
    });
    const T average = static_cast<T>(mean);
    const T factor = static_cast<T>(1 / std::sqrt(variance + epsilon));
    call.output<T>(1)[row] = average;
    call.output<T>(2)[row] = static_cast<T>(variance);
#pragma GCC ivdep
    for (int64_t i = 0; i < rows.size; ++i) {
      y[i] = (x[i] - average) * factor * scale[i] + offset[i];
    }
  });
}

template <typename T>
void layer_norm_grad(const Rows& rows, double epsilon, const KernelCall& call) {
  const int64_t n = rows.size;
  const T* scale = call.input<T>(2);
  auto* sums = static_cast<double*>(call.workspace);  // [shards, 2, n]
  std::fill_n(sums, 2 * n * rows.shards, 0.0);
  rows.run(call.threads, [&](int64_t row, int64_t shard) {
    const T *dy = call.input<T>(0) + row * n, *x = call.input<T>(1) + row * n;
    T* dx = call.output<T>(0) + row * n;
    double *dscale = sums + 2 * n * shard, *doffset = dscale + n;
    const T mean = call.input<T>(3)[row];
    const T r = static_cast<T>(1 / std::sqrt(call.input<T>(4)[row] + epsilon));
    const T h_mean =
        static_cast<T>(mean_of(n, [=](int64_t i) { return double{dy[i]} * double{scale[i]}; }));
    const T projection = static_cast<T>(mean_of(n, [=](int64_t i) {
      return double{dy[i]} * double{scale[i]} * (double{x[i]} - double{mean}) * double{r};
    }));
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      const T z = (x[i] - mean) * r, d = dy[i];
      dscale[i] += d * z;
      doffset[i] += d;
      dx[i] = r * (d * scale[i] - h_mean - z * projection);
    }
  });
  for (int64_t i = 0; i < n; ++i) {
    double dscale = 0, doffset = 0;
    for (int64_t shard = 0; shard < rows.shards; ++shard) {
      dscale += sums[2 * n * shard + i];
      doffset += sums[2 * n * shard + n + i];
    }
    call.output<T>(1)[i] = static_cast<T>(dscale);
    call.output<T>(2)[i] = static_cast<T>(doffset);
  }
}

KernelFacts describe_norm(const KernelRequest&) { return {.in_place = {{0, 0}}}; }

KernelFacts describe_grad(const KernelRequest& request) {
  const Rows rows(request.inputs[0]);
  return {.workspace_bytes = 2 * rows.size * rows.shards * sizeof(double),
          .in_place = {{0, 0}, {0, 1}}};
}

using Run = void (*)(const Rows&, double, const KernelCall&);
template <Run kFloat, Run kDouble>
PreparedKernel prepare(const KernelRequest& request) {
  const Run run = request.inputs[0].dtype == DType::f64 ? kDouble : kFloat;
  return [run, rows = Rows(request.inputs[0]),
          epsilon = request.attributes<LayerNormAttributes>().epsilon](const KernelCall& call) {
    run(rows, epsilon, call);
  };
}

using Norm = Widened<describe_norm, prepare<layer_norm<float>, layer_norm<double>>>;
using Grad = Widened<describe_grad, prepare<layer_norm_grad<float>, layer_norm_grad<double>>>;

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.layer_norm",
     .op = "layer_norm",
     .describe = Norm::describe,
     .prepare = Norm::prepare},
    {.name = "adjoint.layer_norm_grad",
     .op = "layer_norm_grad",
     .describe = Grad::describe,
     .prepare = Grad::prepare},
};

}  // namespace

std::span<const KernelDef> layer_norm_kernels() { return kKernels; }

}  // namespace adjoint::cpu
