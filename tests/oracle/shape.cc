#include "ops/shape.h"

#include <cmath>

#include "tests/oracle/oracle.h"

namespace adjoint::oracle {
namespace {

Outputs reshape_value(const Call& call) {
  Tensor y = call.input(0);
  y.dims = numbers(call.attributes<ShapeAttributes>().shape);
  return {y};
}

Outputs transpose_value(const Call& call) {
  const Tensor& x = call.input(0);
  const auto& permutation = call.attributes<TransposeAttributes>().permutation;
  Tensor y = x;
  for (int k = 0; k < x.rank(); ++k) y.dims[k] = x.dims[permutation[k]];
  for_each_index(y.dims, [&](const Index& to) {
    Index from(to.size());
    for (int k = 0; k < x.rank(); ++k) from[permutation[k]] = to[k];
    y.at(to) = x.at(from);
  });
  return {y};
}

Outputs broadcast_to_value(const Call& call) {
  const Tensor& x = call.input(0);
  Tensor y = filled(x.dtype, numbers(call.attributes<ShapeAttributes>().shape), 0);
  for_each_index(y.dims, [&](const Index& i) { y.at(i) = x.values[broadcast_offset(x.dims, i)]; });
  return {y};
}

Outputs sum_to_value(const Call& call) {
  const Tensor& x = call.input(0);
  Tensor y = with_error(x.dtype, numbers(call.attributes<ShapeAttributes>().shape));
  const Real terms = y.size() ? Real(x.size()) / y.size() : 0;
  for_each_index(x.dims, [&](const Index& i) {
    const int64_t to = broadcast_offset(y.dims, i);
    y.values[to] += x.at(i);
    if (!is_float(x.dtype)) y.values[to] = rounded(x.dtype, y.values[to]);
    y.error[to] += terms * std::fabs(x.at(i));
  });
  return {y};
}

Outputs concat_value(const Call& call) {
  const int64_t axis = call.attributes<AxisAttributes>().axis;
  Dims dims = call.input(0).dims;
  dims[axis] = 0;
  for (const Tensor& x : call.inputs) dims[axis] += x.dims[axis];
  Tensor y = filled(call.input(0).dtype, dims, 0);
  int64_t begin = 0;
  for (const Tensor& x : call.inputs) {
    for_each_index(x.dims, [&](const Index& from) {
      Index to = from;
      to[axis] += begin;
      y.at(to) = x.at(from);
    });
    begin += x.dims[axis];
  }
  return {y};
}

Outputs slice_value(const Call& call) {
  const Tensor& x = call.input(0);
  const auto& a = call.attributes<SliceAttributes>();
  const Dims starts = numbers(a.starts), limits = numbers(a.limits);
  Dims steps = a.steps.empty() ? Dims(x.dims.size(), 1) : a.steps;
  Dims dims(x.dims.size(), 0);
  for (int k = 0; k < x.rank(); ++k) {
    for (int64_t i = starts[k]; i < limits[k]; i += steps[k]) ++dims[k];
  }
  Tensor y = filled(x.dtype, dims, 0);
  for_each_index(dims, [&](const Index& to) {
    Index from(to.size());
    for (int k = 0; k < x.rank(); ++k) from[k] = starts[k] + to[k] * steps[k];
    y.at(to) = x.at(from);
  });
  return {y};
}

Outputs pad_value(const Call& call) {
  const Tensor& x = call.input(0);
  const auto& a = call.attributes<PadAttributes>();
  const Dims low = numbers(a.low), high = numbers(a.high);
  const Dims interior = a.interior.empty() ? Dims(x.dims.size(), 0) : a.interior;
  Dims dims(x.dims.size());
  for (int k = 0; k < x.rank(); ++k) {
    const int64_t gaps = x.dims[k] > 0 ? x.dims[k] - 1 : 0;
    dims[k] = low[k] + x.dims[k] + gaps * interior[k] + high[k];
  }
  Tensor y = filled(x.dtype, dims, converted(DType::f64, x.dtype, a.value));
  for_each_index(x.dims, [&](const Index& from) {
    Index to(from.size());
    for (int k = 0; k < x.rank(); ++k) to[k] = low[k] + from[k] * (interior[k] + 1);
    y.at(to) = x.at(from);
  });
  return {y};
}

Outputs split_value(const Call& call) {
  const Tensor& x = call.input(0);
  const auto& a = call.attributes<SplitAttributes>();
  Outputs parts;
  int64_t begin = 0;
  for (int64_t size : numbers(a.sizes)) {
    Dims dims = x.dims;
    dims[a.axis] = size;
    Tensor part = filled(x.dtype, dims, 0);
    for_each_index(dims, [&](const Index& to) {
      Index from = to;
      from[a.axis] += begin;
      part.at(to) = x.at(from);
    });
    parts.push_back(part);
    begin += size;
  }
  return parts;
}

bool contains(const std::vector<int64_t>& axes, int64_t axis) {
  for (int64_t a : axes) {
    if (a == axis) return true;
  }
  return false;
}

Outputs squeeze_value(const Call& call) {
  Tensor y = call.input(0);
  const auto& axes = call.attributes<AxesAttributes>().axes;
  y.dims.clear();
  for (int k = 0; k < call.input(0).rank(); ++k) {
    if (!contains(axes, k)) y.dims.push_back(call.input(0).dims[k]);
  }
  return {y};
}

Outputs expand_dims_value(const Call& call) {
  Tensor y = call.input(0);
  const auto& axes = call.attributes<AxesAttributes>().axes;
  const int rank = y.rank() + static_cast<int>(axes.size());
  y.dims.clear();
  size_t next = 0;
  for (int k = 0; k < rank; ++k) {
    y.dims.push_back(contains(axes, k) ? 1 : call.input(0).dims[next++]);
  }
  return {y};
}

Outputs dim_size_value(const Call& call) {
  const int64_t axis = call.attributes<AxisAttributes>().axis;
  return {filled(DType::i64, {}, call.input(0).dims[axis])};
}

}  // namespace

void add_shape(Functions& f) {
  f["reshape"] = reshape_value;
  f["transpose"] = transpose_value;
  f["broadcast_to"] = broadcast_to_value;
  f["sum_to"] = sum_to_value;
  f["concat"] = concat_value;
  f["slice"] = slice_value;
  f["pad"] = pad_value;
  f["split"] = split_value;
  f["squeeze"] = squeeze_value;
  f["expand_dims"] = expand_dims_value;
  f["dim_size"] = dim_size_value;
}

}  // namespace adjoint::oracle
