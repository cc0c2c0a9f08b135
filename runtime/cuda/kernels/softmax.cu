// Kernels of softmax, log_softmax and the softmax cross entropies: each row by its own threads.
#include "graph/dtype.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/shape.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/device/row_group.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/indices.h"
#include "runtime/cuda/kernels/visit.h"
#include "runtime/scalar/exponential.h"

namespace adjoint::cuda {
namespace {

// Rows of `size` elements, `stride` apart; `stride` rows lie interleaved.
struct SoftmaxRows {
  int64_t rows;
  int64_t size;
  int64_t stride;
  int lanes;

  SoftmaxRows(const std::vector<int64_t>& dims, size_t axis)
      : rows(1), size(dims[axis]), stride(1) {
    for (size_t i = 0; i < dims.size(); ++i) {
      if (i != axis) rows *= dims[i];
      if (i > axis) stride *= dims[i];
    }
    lanes = row_lanes(std::max<int64_t>(size, 1), stride, rows);
  }
  explicit SoftmaxRows(const TensorType& logits)
      : SoftmaxRows(logits.dims, logits.dims.size() - 1) {}
  LaunchShape shape() const { return row_shape(lanes, rows); }
};

// One row of logits, and what all the kernels need of it: exp(x - largest) and its sum. A NaN comes
// through by the sum. A row past the end is empty.
template <typename T>
struct SoftmaxRow {
  using C = Compute<T>;
  RowGroup group;
  int64_t first = 0;  // where the row begins
  int64_t size = 0;
  int64_t stride;
  const T* x;
  C largest = -scalar::kInfinity;
  C sum = 0;

  __device__ SoftmaxRow(const SoftmaxRows& rows, const T* logits)
      : group(rows.lanes), stride(rows.stride), x(logits) {
    if (group.row < rows.rows) {
      const Quotient at = divide(group.row, stride);
      first = at.whole * rows.size * stride + at.rest;
      size = rows.size;
    }
    each([&](int64_t, int64_t place) { largest = Larger()(largest, widen(x[place])); });
    largest = group.reduce(largest, Larger());
    each([&](int64_t, int64_t place) { sum += scalar::exp(shifted(place)); });
    sum = group.reduce(sum, Add());
  }
  __device__ C shifted(int64_t place) const { return widen(x[place]) - largest; }
  // Calls body(index in the row, place in memory) for this thread's elements.
  template <typename Body>
  __device__ void each(Body body) const {
    for (int64_t i = group.lane; i < size; i += group.size) body(i, first + i * stride);
  }
};

template <typename T, bool kLog>
__global__ void softmax(SoftmaxRows rows, const T* x, T* y) {
  begin_kernel();
  const SoftmaxRow<T> row(rows, x);
  const Compute<T> log_sum = kLog ? scalar::log(row.sum) : 0;
  row.each([&](int64_t, int64_t place) {
    const Compute<T> shifted = row.shifted(place);
    y[place] = narrow<T>(kLog ? shifted - log_sum : scalar::exp(shifted) / row.sum);
  });
}

// A row's label; -1 where it is out of range, which one of the row's threads reports.
template <typename T>
__device__ int64_t label_of(const SoftmaxRow<T>& row, const SoftmaxRows& rows,
                            const Indices& labels, const Failure& failure) {
  if (row.group.row >= rows.rows) return -1;
  const int64_t label = labels[row.group.row];
  if (label >= 0 && label < rows.size) return label;
  if (row.group.lane == 0) failure.report(label);
  return -1;
}

template <typename T>
__global__ void cross_entropy(SoftmaxRows rows, const T* logits, Indices labels, T* loss,
                              Failure failure) {
  begin_kernel();
  const SoftmaxRow<T> row(rows, logits);
  const int64_t label = label_of(row, rows, labels, failure);
  if (label < 0 || row.group.lane != 0) return;
  loss[row.group.row] = narrow<T>(scalar::log(row.sum) - row.shifted(row.first + label));
}

template <typename T>
__global__ void cross_entropy_grad(SoftmaxRows rows, const T* dloss, const T* logits,
                                   Indices labels, T* dlogits, Failure failure) {
  begin_kernel();
  using C = Compute<T>;
  const SoftmaxRow<T> row(rows, logits);
  const int64_t label = label_of(row, rows, labels, failure);
  if (label < 0) return;
  const C scale = widen(dloss[row.group.row]);
  row.each([&](int64_t i, int64_t place) {
    const C probability = scalar::exp(row.shifted(place)) / row.sum;
    dlogits[place] = narrow<T>(scale * (probability - (i == label ? C{1} : C{0})));
  });
}

template <typename T>
__global__ void cross_entropy_dense(SoftmaxRows rows, const T* logits, const T* targets, T* loss) {
  begin_kernel();
  using C = Compute<T>;
  const SoftmaxRow<T> row(rows, logits);
  const C log_sum = scalar::log(row.sum);
  C sum = 0;
  row.each([&](int64_t, int64_t place) {
    sum += widen(targets[place]) * (row.shifted(place) - log_sum);
  });
  sum = row.group.reduce(sum, Add());
  if (row.group.row < rows.rows && row.group.lane == 0) loss[row.group.row] = narrow<T>(-sum);
}

KernelFacts describe_softmax(const KernelRequest&, Context&) { return {.in_place = {{0, 0}}}; }
KernelFacts describe_labels(const KernelRequest&, Context&) { return {.fallible = true}; }

template <bool kLog>
PreparedKernel prepare_softmax(const KernelRequest& request, Context&) {
  const TensorType& type = request.outputs[0];
  const SoftmaxRows rows(type.dims, request.attributes<AxisAttributes>().axis);
  const bool empty = type.element_count() == 0;
  return visit_float(type.dtype, [&]<typename T>() -> PreparedKernel {
    return [=](const KernelCall& call) {
      if (empty) return;
      launch(kLog ? "log_softmax" : "softmax", softmax<T, kLog>, rows.shape(), call.stream, rows,
             call.input<T>(0), call.output<T>(0));
    };
  });
}

// A row without classes has no label in range either.
PreparedKernel prepare_cross_entropy(const KernelRequest& request, Context&) {
  const SoftmaxRows rows(request.inputs[0]);
  const DType label_type = request.inputs[1].dtype;
  return visit_float(request.inputs[0].dtype, [&]<typename T>() -> PreparedKernel {
    return [=](const KernelCall& call) {
      if (rows.rows == 0) return;
      launch("cross_entropy", cross_entropy<T>, rows.shape(), call.stream, rows, call.input<T>(0),
             Indices{call.inputs[1], label_type}, call.output<T>(0), Failure(call));
    };
  });
}

PreparedKernel prepare_cross_entropy_grad(const KernelRequest& request, Context&) {
  const SoftmaxRows rows(request.inputs[1]);
  const DType label_type = request.inputs[2].dtype;
  return visit_float(request.inputs[1].dtype, [&]<typename T>() -> PreparedKernel {
    return [=](const KernelCall& call) {
      if (rows.rows == 0) return;
      launch("cross_entropy_grad", cross_entropy_grad<T>, rows.shape(), call.stream, rows,
             call.input<T>(0), call.input<T>(1), Indices{call.inputs[2], label_type},
             call.output<T>(0), Failure(call));
    };
  });
}

PreparedKernel prepare_cross_entropy_dense(const KernelRequest& request, Context&) {
  const SoftmaxRows rows(request.inputs[0]);
  return visit_float(request.inputs[0].dtype, [&]<typename T>() -> PreparedKernel {
    return [=](const KernelCall& call) {
      if (rows.rows == 0) return;
      launch("cross_entropy_dense", cross_entropy_dense<T>, rows.shape(), call.stream, rows,
             call.input<T>(0), call.input<T>(1), call.output<T>(0));
    };
  });
}

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.softmax",
     .op = "softmax",
     .describe = describe_softmax,
     .prepare = prepare_softmax<false>},
    {.name = "adjoint.log_softmax",
     .op = "log_softmax",
     .describe = describe_softmax,
     .prepare = prepare_softmax<true>},
    {.name = "adjoint.softmax_cross_entropy",
     .op = "softmax_cross_entropy",
     .describe = describe_labels,
     .prepare = prepare_cross_entropy},
    {.name = "adjoint.softmax_cross_entropy_grad",
     .op = "softmax_cross_entropy_grad",
     .describe = describe_labels,
     .prepare = prepare_cross_entropy_grad},
    {.name = "adjoint.softmax_cross_entropy_dense",
     .op = "softmax_cross_entropy_dense",
     .prepare = prepare_cross_entropy_dense},
};

}  // namespace

std::span<const KernelDef> softmax_kernels() { return kKernels; }

}  // namespace adjoint::cuda
