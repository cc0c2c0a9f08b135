// Kernels of softmax, log_softmax and the softmax cross entropies.
#include <algorithm>
#include <cstdint>

#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/shape.h"
#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/indices.h"
#include "runtime/cpu/kernels/widened.h"
#include "runtime/scalar/exponential.h"

namespace adjoint::cpu {
namespace {

constexpr int64_t kShardElements = 1 << 14;

// The sum of term(0) ... term(n - 1) in eight parts, which vectorises and rounds less.
template <typename T, typename Term>
T sum_of(int64_t n, Term term) {
  constexpr int kParts = 8;
  T parts[kParts] = {};
  int64_t i = 0;
  for (; i + kParts <= n; i += kParts) {
    for (int k = 0; k < kParts; ++k) parts[k] += term(i + k);
  }
  for (int k = 0; i < n; ++i, ++k) parts[k] += term(i);
  T sum = 0;
  for (T part : parts) sum += part;
  return sum;
}

// One row of logits, and what all the kernels need of it: exp(x - max) and its sum. A NaN comes
// through by the sum.
template <typename T>
struct Row {
  Row(const T* x, int64_t n, int64_t stride) : x(x), n(n), stride(stride), largest(x[0]) {
    for (int64_t i = 1; i < n; ++i) largest = x[i * stride] > largest ? x[i * stride] : largest;
    sum = sum_of<T>(n, [&](int64_t i) { return exponential(i); });
  }
  T shifted(int64_t i) const { return x[i * stride] - largest; }
  T exponential(int64_t i) const { return scalar::exp(shifted(i)); }
  T log_sum() const { return scalar::log(sum); }

  const T* x;
  int64_t n;
  int64_t stride;
  T largest;
  T sum = 0;
};

KernelFacts describe_in_place(const KernelRequest&) { return {.in_place = {{0, 0}}}; }
KernelFacts describe_nothing(const KernelRequest&) { return {}; }
KernelFacts describe_labels(const KernelRequest&) { return {.fallible = true}; }

// Calls body(row) for each row, in shards.
template <typename Body>
void for_rows(Threads& threads, int64_t rows, int64_t classes, Body body) {
  const int64_t shards = shard_count(rows * classes, kShardElements);
  threads.parallel_for(shards, [&](int64_t shard) {
    const int64_t end = shard_begin(rows, shards, shard + 1);
    for (int64_t row = shard_begin(rows, shards, shard); row < end; ++row) body(row);
  });
}

template <typename T, bool kLog>
void softmax_row(const T* x, T* y, int64_t n, int64_t stride) {
  const Row<T> row(x, n, stride);
  if constexpr (kLog) {
    const T log_sum = row.log_sum();
    for (int64_t i = 0; i < n; ++i) y[i * stride] = row.shifted(i) - log_sum;
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * stride] = row.exponential(i) / row.sum;
  }
}

template <bool kLog>
PreparedKernel prepare_softmax(const KernelRequest& request) {
  const TensorType& type = request.outputs[0];
  const int64_t axis = request.attributes<AxisAttributes>().axis;
  const int64_t n = type.dims[axis];
  int64_t stride = 1;
  for (size_t i = axis + 1; i < type.dims.size(); ++i) stride *= type.dims[i];
  const int64_t rows = n == 0 ? 0 : type.element_count() / n;
  return [=, dtype = type.dtype](const KernelCall& call) {
    auto run = [&]<typename T>(T*) {
      for_rows(call.threads, rows, n, [&](int64_t row) {
        const int64_t offset = row / stride * n * stride + row % stride;
        softmax_row<T, kLog>(call.input<T>(0) + offset, call.output<T>(0) + offset, n, stride);
      });
    };
    dtype == DType::f64 ? run(static_cast<double*>(nullptr)) : run(static_cast<float*>(nullptr));
  };
}

// What the losses work on: logits [rows, classes], and maybe labels.
struct Losses {
  Losses(const KernelRequest& request, size_t logits, size_t labels)
      : classes(request.inputs[logits].dims.back()),
        rows(classes == 0 ? 0 : request.inputs[logits].element_count() / classes),
        is_double(request.inputs[logits].dtype == DType::f64),
        label_type(request.inputs[labels].dtype) {}

  int64_t classes;
  int64_t rows;
  bool is_double;
  DType label_type;
};

// Runs body.operator()<T, Label>() for the types of logits and labels.
template <typename Body>
void visit_losses(const Losses& losses, Body body) {
  visit_integer(losses.label_type, [&]<typename Label>() {
    losses.is_double ? body.template operator()<double, Label>()
                     : body.template operator()<float, Label>();
  });
}

PreparedKernel prepare_cross_entropy(const KernelRequest& request) {
  const Losses losses(request, 0, 1);
  return [=, check = IndexCheck(request.node, "label")](const KernelCall& call) {
    check(losses.label_type, call.inputs[1], losses.rows, losses.classes);
    visit_losses(losses, [&]<typename T, typename Label>() {
      for_rows(call.threads, losses.rows, losses.classes, [&](int64_t i) {
        const Row<T> row(call.input<T>(0) + i * losses.classes, losses.classes, 1);
        const auto label = static_cast<int64_t>(call.input<Label>(1)[i]);
        call.output<T>(0)[i] = row.log_sum() - row.shifted(label);
      });
    });
  };
}

PreparedKernel prepare_cross_entropy_grad(const KernelRequest& request) {
  const Losses losses(request, 1, 2);
  return [=, check = IndexCheck(request.node, "label")](const KernelCall& call) {
    check(losses.label_type, call.inputs[2], losses.rows, losses.classes);
    visit_losses(losses, [&]<typename T, typename Label>() {
      for_rows(call.threads, losses.rows, losses.classes, [&](int64_t i) {
        const Row<T> row(call.input<T>(1) + i * losses.classes, losses.classes, 1);
        const auto label = static_cast<int64_t>(call.input<Label>(2)[i]);
        const T dloss = call.input<T>(0)[i];
        T* to = call.output<T>(0) + i * losses.classes;
        for (int64_t k = 0; k < losses.classes; ++k) {
          to[k] = dloss * (row.exponential(k) / row.sum - (k == label ? T{1} : T{0}));
        }
      });
    });
  };
}

PreparedKernel prepare_cross_entropy_dense(const KernelRequest& request) {
  const Losses losses(request, 0, 0);
  return [=](const KernelCall& call) {
    auto run = [&]<typename T>(T*) {
      for_rows(call.threads, losses.rows, losses.classes, [&](int64_t i) {
        const Row<T> row(call.input<T>(0) + i * losses.classes, losses.classes, 1);
        const T* targets = call.input<T>(1) + i * losses.classes;
        const T log_sum = row.log_sum();
        call.output<T>(0)[i] = -sum_of<T>(
            losses.classes, [&](int64_t k) { return targets[k] * (row.shifted(k) - log_sum); });
      });
    };
    losses.is_double ? run(static_cast<double*>(nullptr)) : run(static_cast<float*>(nullptr));
  };
}

using Softmax = Widened<describe_in_place, prepare_softmax<false>>;
using LogSoftmax = Widened<describe_in_place, prepare_softmax<true>>;
using CrossEntropy = Widened<describe_labels, prepare_cross_entropy>;
using CrossEntropyGrad = Widened<describe_labels, prepare_cross_entropy_grad>;
using CrossEntropyDense = Widened<describe_nothing, prepare_cross_entropy_dense>;

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.softmax",
     .op = "softmax",
     .describe = Softmax::describe,
     .prepare = Softmax::prepare},
    {.name = "adjoint.log_softmax",
     .op = "log_softmax",
     .describe = LogSoftmax::describe,
     .prepare = LogSoftmax::prepare},
    {.name = "adjoint.softmax_cross_entropy",
     .op = "softmax_cross_entropy",
     .describe = CrossEntropy::describe,
     .prepare = CrossEntropy::prepare},
    {.name = "adjoint.softmax_cross_entropy_grad",
     .op = "softmax_cross_entropy_grad",
     .describe = CrossEntropyGrad::describe,
     .prepare = CrossEntropyGrad::prepare},
    {.name = "adjoint.softmax_cross_entropy_dense",
     .op = "softmax_cross_entropy_dense",
     .describe = CrossEntropyDense::describe,
     .prepare = CrossEntropyDense::prepare},
};

}  // namespace

std::span<const KernelDef> softmax_kernels() { return kKernels; }

}  // namespace adjoint::cpu
