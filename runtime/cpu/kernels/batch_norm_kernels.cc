// Kernels of batch_norm, its gradient and its inference.
//
// x is [rows, channels]. Sums over the rows are taken in double, of values less those of the first
// row, so that a mean far from zero costs no digits, and added up over shards in order. The loops
// go over `width` elements at a time, a whole number of rows, so that few channels fill vectors
// too.
#include <cmath>
#include <limits>

#include "ops/norm.h"
#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/widened.h"

namespace adjoint::cpu {
namespace {

constexpr int64_t kLeastWidth = 64;
constexpr int64_t kShardElements = 1 << 15;

struct ChannelRows {
  explicit ChannelRows(const TensorType& x)
      : channels(x.dims.back()),
        count(x.element_count()),
        width(channels * std::max<int64_t>(kLeastWidth / std::max<int64_t>(channels, 1), 1)),
        stretches(width == 0 ? 0 : (count + width - 1) / width),
        shards(std::min(std::max<int64_t>(stretches, 1), shard_count(count, kShardElements))) {}

  // Calls body(first element, how many) for each stretch of a shard: at most `width` elements.
  template <typename Body>
  void for_stretches(int64_t shard, Body body) const {
    for (int64_t i = shard_begin(stretches, shards, shard);
         i < shard_begin(stretches, shards, shard + 1); ++i) {
      body(i * width, std::min(width, count - i * width));
    }
  }

  double rows() const { return static_cast<double>(count / std::max<int64_t>(channels, 1)); }
  // A workspace of a few vectors of `width`, and two sums for each shard.
  size_t sums_bytes() const { return aligned_bytes(2 * width * shards * sizeof(double)); }

  int64_t channels;
  int64_t count;
  int64_t width;
  int64_t stretches;
  int64_t shards;
};

// Two sums for each channel of first(i, w) and second(i, w), w being i's place in the width.
template <typename First, typename Second>
void sum_channels(const ChannelRows& rows, double* sums, Threads& threads, First first,
                  Second second) {
  const int64_t width = rows.width;
  threads.parallel_for(rows.shards, [&](int64_t shard) {
    double* a = sums + 2 * width * shard;
    double* b = a + width;
    std::fill_n(a, 2 * width, 0.0);
    rows.for_stretches(shard, [&](int64_t begin, int64_t size) {
#pragma GCC ivdep
      for (int64_t w = 0; w < size; ++w) {
        a[w] += first(begin + w, w);
        b[w] += second(begin + w, w);
      }
    });
  });
  // Everything onto the first shard's first row.
  for (int64_t c = 0; c < rows.channels; ++c) {
    double total_a = 0, total_b = 0;
    for (int64_t shard = 0; shard < rows.shards; ++shard) {
      for (int64_t w = c; w < width; w += rows.channels) {
        total_a += sums[2 * width * shard + w];
        total_b += sums[2 * width * shard + width + w];
      }
    }
    sums[c] = total_a;
    sums[width + c] = total_b;
  }
}

// Vectors of `width` elements, each channel's value at all its places.
template <typename T>
struct WideVectors {
  WideVectors(void* workspace, size_t offset, const ChannelRows& rows)
      : data(reinterpret_cast<T*>(static_cast<std::byte*>(workspace) + offset)), rows(rows) {}
  static size_t bytes(const ChannelRows& rows, int vectors) {
    return aligned_bytes(vectors * rows.width * sizeof(T));
  }
  T* operator[](int vector) const { return data + vector * rows.width; }
  template <typename Value>
  void fill(int vector, Value value) const {
    for (int64_t w = 0; w < rows.width; ++w)
      data[vector * rows.width + w] = value(w % rows.channels);
  }

  T* data;
  const ChannelRows& rows;
};

// y = (x - mean) * factor + offset, where factor = scale / sqrt(variance + epsilon).
template <typename T>
void normalize(const ChannelRows& rows, double epsilon, const T* x, const T* scale, const T* offset,
               const T* mean, const T* variance, T* y, const WideVectors<T>& wide,
               Threads& threads) {
  wide.fill(0, [&](int64_t c) { return mean[c]; });
  wide.fill(1, [&](int64_t c) {
    return scale[c] * (1 / std::sqrt(variance[c] + static_cast<T>(epsilon)));
  });
  wide.fill(2, [&](int64_t c) { return offset[c]; });
  const T *means = wide[0], *factors = wide[1], *offsets = wide[2];
  threads.parallel_for(rows.shards, [&](int64_t shard) {
    rows.for_stretches(shard, [&](int64_t begin, int64_t size) {
      const T* from = x + begin;
      T* to = y + begin;
#pragma GCC ivdep
      for (int64_t w = 0; w < size; ++w) to[w] = (from[w] - means[w]) * factors[w] + offsets[w];
    });
  });
}

template <typename T>
void batch_norm(const ChannelRows& rows, double epsilon, const KernelCall& call) {
  const T* x = call.input<T>(0);
  T *mean = call.output<T>(1), *variance = call.output<T>(2);
  auto* sums = static_cast<double*>(call.workspace);
  const WideVectors<T> wide(call.workspace, rows.sums_bytes(), rows);
  if (rows.count == 0) {
    std::fill_n(mean, rows.channels, std::numeric_limits<T>::quiet_NaN());
    std::fill_n(variance, rows.channels, std::numeric_limits<T>::quiet_NaN());
    return;
  }
  wide.fill(0, [&](int64_t c) { return x[c]; });
  const T* shift = wide[0];
  auto shifted = [=](int64_t i, int64_t w) {
    return static_cast<double>(x[i]) - static_cast<double>(shift[w]);
  };
  sum_channels(rows, sums, call.threads, shifted, [=](int64_t i, int64_t w) {
    const double d = shifted(i, w);
    return d * d;
  });
  for (int64_t c = 0; c < rows.channels; ++c) {
    const double d = sums[c] / rows.rows(), squares = sums[rows.width + c] / rows.rows();
    mean[c] = static_cast<T>(shift[c] + d);
    const double spread = squares - d * d;
    variance[c] = static_cast<T>(spread < 0 ? 0 : spread);  // NaN stays
  }
  normalize<T>(rows, epsilon, x, call.input<T>(1), call.input<T>(2), mean, variance,
               call.output<T>(0), wide, call.threads);
}

template <typename T>
void batch_norm_grad(const ChannelRows& rows, double epsilon, const KernelCall& call) {
  const T *dy = call.input<T>(0), *x = call.input<T>(1), *scale = call.input<T>(2);
  const T *mean = call.input<T>(3), *variance = call.input<T>(4);
  T* dx = call.output<T>(0);
  auto* sums = static_cast<double*>(call.workspace);
  const WideVectors<T> wide(call.workspace, rows.sums_bytes(), rows);
  wide.fill(0, [&](int64_t c) { return mean[c]; });
  const T* means = wide[0];
  sum_channels(
      rows, sums, call.threads, [=](int64_t i, int64_t) { return static_cast<double>(dy[i]); },
      [=](int64_t i, int64_t w) {
        return static_cast<double>(dy[i]) *
               (static_cast<double>(x[i]) - static_cast<double>(means[w]));
      });
  auto inverse = [&](int64_t c) { return 1 / std::sqrt(variance[c] + epsilon); };
  for (int64_t c = 0; c < rows.channels; ++c) {
    // A sum of nothing is 0, whatever the variance of nothing.
    call.output<T>(1)[c] =
        rows.count == 0 ? T{0} : static_cast<T>(sums[rows.width + c] * inverse(c));
    call.output<T>(2)[c] = static_cast<T>(sums[c]);
  }
  // dx = factor * (dy - mean of dy - (x - mean) * slope)
  wide.fill(1, [&](int64_t c) { return static_cast<T>(scale[c] * inverse(c)); });
  wide.fill(2, [&](int64_t c) { return static_cast<T>(sums[c] / rows.rows()); });
  wide.fill(3, [&](int64_t c) {
    return static_cast<T>(sums[rows.width + c] / rows.rows() * inverse(c) * inverse(c));
  });
  const T *factors = wide[1], *averages = wide[2], *slopes = wide[3];
  call.threads.parallel_for(rows.shards, [&](int64_t shard) {
    rows.for_stretches(shard, [&](int64_t begin, int64_t size) {
      const T *from = dy + begin, *at = x + begin;
      T* to = dx + begin;
#pragma GCC ivdep
      for (int64_t w = 0; w < size; ++w) {
        to[w] = factors[w] * (from[w] - averages[w] - (at[w] - means[w]) * slopes[w]);
      }
    });
  });
}

template <typename T>
void batch_norm_inference(const ChannelRows& rows, double epsilon, const KernelCall& call) {
  normalize<T>(rows, epsilon, call.input<T>(0), call.input<T>(1), call.input<T>(2),
               call.input<T>(3), call.input<T>(4), call.output<T>(0),
               WideVectors<T>(call.workspace, 0, rows), call.threads);
}

template <bool kSums>
KernelFacts describe(const KernelRequest& request) {
  const TensorType& x = request.inputs[0];
  const ChannelRows rows(x);
  const size_t wide = x.dtype == DType::f64 ? WideVectors<double>::bytes(rows, 4)
                                            : WideVectors<float>::bytes(rows, 4);
  return {.workspace_bytes = (kSums ? rows.sums_bytes() : 0) + wide, .in_place = {{0, 0}}};
}

KernelFacts describe_grad(const KernelRequest& request) {
  KernelFacts facts = describe<true>(request);
  facts.in_place = {{0, 0}, {0, 1}};
  return facts;
}

using Run = void (*)(const ChannelRows&, double, const KernelCall&);
template <Run kFloat, Run kDouble>
PreparedKernel prepare(const KernelRequest& request) {
  const Run run = request.inputs[0].dtype == DType::f64 ? kDouble : kFloat;
  return [run, rows = ChannelRows(request.inputs[0]),
          epsilon = request.attributes<BatchNormAttributes>().epsilon](const KernelCall& call) {
    run(rows, epsilon, call);
  };
}

using Norm = Widened<describe<true>, prepare<batch_norm<float>, batch_norm<double>>>;
using Grad = Widened<describe_grad, prepare<batch_norm_grad<float>, batch_norm_grad<double>>>;
using Inference =
    Widened<describe<false>, prepare<batch_norm_inference<float>, batch_norm_inference<double>>>;

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.batch_norm",
     .op = "batch_norm",
     .describe = Norm::describe,
     .prepare = Norm::prepare},
    {.name = "adjoint.batch_norm_grad",
     .op = "batch_norm_grad",
     .describe = Grad::describe,
     .prepare = Grad::prepare},
    {.name = "adjoint.batch_norm_inference",
     .op = "batch_norm_inference",
     .describe = Inference::describe,
     .prepare = Inference::prepare},
};

}  // namespace

std::span<const KernelDef> batch_norm_kernels() { return kKernels; }

}  // namespace adjoint::cpu
