#include "runtime/cpu/kernels/reduce/arg_reduce.h"

#include <algorithm>

#include "ops/reduce.h"
#include "runtime/cpu/kernels/elements.h"

namespace adjoint::cpu {
namespace {

// A tensor as [outer, size, inner], reduced along the middle.
struct Axis {
  explicit Axis(const KernelRequest& request) {
    const std::vector<int64_t>& dims = request.inputs[0].dims;
    const int64_t axis = request.attributes<ArgReduceAttributes>().axis;
    for (int64_t i = 0; i < std::ssize(dims); ++i) {
      (i < axis ? outer : i == axis ? size : inner) *= dims[i];
    }
  }
  int64_t outer = 1;
  int64_t size = 1;
  int64_t inner = 1;
};

struct Largest {
  template <typename T>
  static bool better(T a, T b) {
    return a > b;
  }
};
struct Smallest {
  template <typename T>
  static bool better(T a, T b) {
    return a < b;
  }
};

constexpr int64_t kColumns = 256;  // worked on at once

// The places of the best elements of `columns` neighbouring columns.
template <typename Order, typename T>
void find_best(const T* x, const Axis& axis, int64_t columns, int64_t* places) {
  Compute<T> best[kColumns];
  for (int64_t j = 0; j < columns; ++j) {
    best[j] = widen(x[j]);
    places[j] = 0;
  }
  for (int64_t i = 1; i < axis.size; ++i) {
    const T* row = x + i * axis.inner;
    for (int64_t j = 0; j < columns; ++j) {
      const auto value = widen(row[j]);
      // A NaN is better than all numbers, and nothing better than a NaN.
      const bool wins = best[j] == best[j] && (Order::better(value, best[j]) || value != value);
      best[j] = wins ? value : best[j];
      places[j] = wins ? i : places[j];
    }
  }
}

template <typename Order, typename T>
PreparedKernel prepare_typed(const Axis& axis) {
  const int64_t pieces = (axis.inner + kColumns - 1) / kColumns;
  const int64_t units = axis.outer * pieces;
  const int64_t least =
      std::max<int64_t>((1 << 15) / (axis.size * std::min(axis.inner, kColumns) + 1), 1);
  const int64_t shards = shard_count(units, least);
  return [=](const KernelCall& call) {
    call.threads.parallel_for(shards, [&](int64_t shard) {
      const int64_t end = shard_begin(units, shards, shard + 1);
      for (int64_t unit = shard_begin(units, shards, shard); unit < end; ++unit) {
        const int64_t outer = unit / pieces;
        const int64_t column = unit % pieces * kColumns;
        find_best<Order>(call.input<T>(0) + outer * axis.size * axis.inner + column, axis,
                         std::min(kColumns, axis.inner - column),
                         call.output<int64_t>(0) + outer * axis.inner + column);
      }
    });
  };
}

template <typename Order>
PreparedKernel prepare_order(const KernelRequest& request) {
  return visit_numeric(request.inputs[0].dtype,
                       [&]<typename T>() { return prepare_typed<Order, T>(Axis(request)); });
}

}  // namespace

PreparedKernel prepare_argmax(const KernelRequest& request) {
  return prepare_order<Largest>(request);
}
PreparedKernel prepare_argmin(const KernelRequest& request) {
  return prepare_order<Smallest>(request);
}

}  // namespace adjoint::cpu
