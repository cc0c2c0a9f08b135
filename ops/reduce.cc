#include "ops/reduce.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "ops/builder.h"
#include "ops/elementwise.h"
#include "ops/shape.h"

namespace adjoint {
namespace {

using Values = std::vector<Value>;
using Operands = std::span<const Value>;

std::vector<Type> infer_reduce(const Inference& in) {
  require_numeric(in, 0);
  const auto& attributes = in.attributes<ReduceAttributes>();
  const Shape& shape = in.shape(0);
  check_axes(in, attributes.axes, shape.rank());
  const auto axes = reduced_axes(attributes, shape.rank());
  return {{in.dtype(0), reduced_shape(shape, axes, attributes.keep)}};
}

std::vector<Type> infer_float_reduce(const Inference& in) {
  in.require_float(0);
  return infer_reduce(in);
}

std::vector<Type> infer_arg_reduce(const Inference& in) {
  require_numeric(in, 0);
  const auto& [stored_axis, keep] = in.attributes<ArgReduceAttributes>();
  const Shape& shape = in.shape(0);
  const int axis = checked_axis(in, stored_axis, shape.rank());
  if (shape[axis] == Dim(0)) {
    in.fail("axis " + std::to_string(axis) + " of " + to_text(in.operand(0)) + " is empty");
  }
  return {{DType::i64, reduced_shape(shape, {axis}, keep)}};
}

// Sixteen-bit floats reduce in f32: a count or a sum may be out of their range.
bool is_half(DType dtype) { return dtype == DType::bf16 || dtype == DType::f16; }

Values in_f32(Operands in, const ReduceAttributes& a,
              Value (*reduce)(Located, std::vector<int64_t>, bool)) {
  return {cast(reduce(cast(in[0], DType::f32), a.axes, a.keep), in[0].dtype())};
}

Values decompose_mean(Operands in, const Attributes& attributes) {
  const auto& a = attributes.get<ReduceAttributes>();
  const Value x = in[0];
  if (is_half(x.dtype())) return in_f32(in, a, mean);
  return {sum(x, a.axes, a.keep) / count_of(x, reduced_axes(a, x.rank()), x.dtype())};
}

Values decompose_variance(Operands in, const Attributes& attributes) {
  const auto& a = attributes.get<ReduceAttributes>();
  const Value x = in[0];
  if (is_half(x.dtype())) return in_f32(in, a, variance);
  return {mean(square(x - mean(x, a.axes, true)), a.axes, a.keep)};
}

Values decompose_logsumexp(Operands in, const Attributes& attributes) {
  const auto& a = attributes.get<ReduceAttributes>();
  const Value x = in[0];
  // An infinite maximum cannot be taken out: inf - inf is NaN.
  const Value top = stop_gradient(max(x, a.axes, true));
  const Value shift = select(is_finite(top), top, 0.0);
  const Value total = log(sum(exp(x - shift), a.axes, a.keep));
  return {total + (a.keep ? shift : reshape(shift, total.shape()))};
}

constexpr OpDef reduction(std::string_view name, InferTypes infer, Decompose decompose = nullptr) {
  return {.name = name,
          .min_operands = 1,
          .max_operands = 1,
          .attributes = &kAttributesOf<ReduceAttributes>,
          .infer = infer,
          .decompose = decompose};
}

constexpr OpDef arg_reduction(std::string_view name) {
  return {.name = name,
          .min_operands = 1,
          .max_operands = 1,
          .attributes = &kAttributesOf<ArgReduceAttributes>,
          .infer = infer_arg_reduce};
}

Value reduce(const OpDef& op, const Located& x, std::vector<int64_t> axes, bool keep) {
  block_of(op, x);
  const int rank = x.value.rank();
  if (axes.empty()) {
    axes.resize(rank);
    std::iota(axes.begin(), axes.end(), 0);
  }
  return build(op, x, {}, ReduceAttributes{complete_axes(std::move(axes), rank), keep});
}

Value arg_reduce(const OpDef& op, const Located& x, int64_t axis, bool keep) {
  block_of(op, x);
  return build(op, x, {}, ArgReduceAttributes{complete_axis(axis, x.value.rank()), keep});
}

}  // namespace

constexpr OpDef kSum = reduction("sum", infer_reduce);
constexpr OpDef kMean = reduction("mean", infer_float_reduce, decompose_mean);
constexpr OpDef kMax = reduction("max", infer_reduce);
constexpr OpDef kMin = reduction("min", infer_reduce);
constexpr OpDef kProd = reduction("prod", infer_reduce);
constexpr OpDef kVariance = reduction("variance", infer_float_reduce, decompose_variance);
constexpr OpDef kLogsumexp = reduction("logsumexp", infer_float_reduce, decompose_logsumexp);
constexpr OpDef kArgmax = arg_reduction("argmax");
constexpr OpDef kArgmin = arg_reduction("argmin");

std::span<const OpDef* const> reduce_ops() {
  static constexpr const OpDef* kOps[] = {&kSum,      &kMean,      &kMax,    &kMin,   &kProd,
                                          &kVariance, &kLogsumexp, &kArgmax, &kArgmin};
  return kOps;
}

std::vector<int> reduced_axes(const ReduceAttributes& attributes, int rank) {
  return normalize_axes(attributes.axes, rank);
}

Shape reduced_shape(const Shape& shape, const std::vector<int>& axes, bool keep) {
  std::vector<Dim> dims;
  for (int d = 0; d < shape.rank(); ++d) {
    const bool reduced = std::binary_search(axes.begin(), axes.end(), d);
    if (!reduced) dims.push_back(shape[d]);
    if (reduced && keep) dims.push_back(1);
  }
  return Shape(std::move(dims));
}

Value sum(Located x, std::vector<int64_t> axes, bool keep) {
  return reduce(kSum, x, std::move(axes), keep);
}
Value mean(Located x, std::vector<int64_t> axes, bool keep) {
  return reduce(kMean, x, std::move(axes), keep);
}
Value max(Located x, std::vector<int64_t> axes, bool keep) {
  return reduce(kMax, x, std::move(axes), keep);
}
Value min(Located x, std::vector<int64_t> axes, bool keep) {
  return reduce(kMin, x, std::move(axes), keep);
}
Value prod(Located x, std::vector<int64_t> axes, bool keep) {
  return reduce(kProd, x, std::move(axes), keep);
}
Value variance(Located x, std::vector<int64_t> axes, bool keep) {
  return reduce(kVariance, x, std::move(axes), keep);
}
Value logsumexp(Located x, std::vector<int64_t> axes, bool keep) {
  return reduce(kLogsumexp, x, std::move(axes), keep);
}
Value argmax(Located x, int64_t axis, bool keep) { return arg_reduce(kArgmax, x, axis, keep); }
Value argmin(Located x, int64_t axis, bool keep) { return arg_reduce(kArgmin, x, axis, keep); }

Value count_of(Located x, const std::vector<int>& axes, DType dtype) {
  Block& block = block_of(kDimSize, x);
  int64_t known = 1;
  Value unknown;
  for (int axis : axes) {
    const Dim& dim = x.value.shape()[axis];
    if (dim.is_constant()) {
      known *= dim.value();
      continue;
    }
    const Value size = dim_size(x, axis);
    unknown = unknown ? mul({unknown, x.where}, size) : size;
  }
  if (!unknown) return constant(block, Literal::scalar(dtype, known), x.where);
  if (known != 1)
    unknown = mul({unknown, x.where}, constant(block, Literal::integer(known), x.where));
  return dtype == DType::i64 ? unknown : cast({unknown, x.where}, dtype);
}

}  // namespace adjoint
