#include "ops/shape.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "graph/error.h"
#include "ops/builder.h"
#include "ops/indexing.h"

namespace adjoint {
namespace {

bool negative(const Dim& dim) { return dim.is_constant() && dim.value() < 0; }

// a <= b, as far as it can be decided.
bool may_be_ordered(const Dim& a, const Dim& b) { return !negative(b - a); }

std::vector<Type> infer_reshape(const Inference& in) {
  const Shape& shape = in.attributes<ShapeAttributes>().shape;
  const Dim from = in.shape(0).element_count();
  const Dim to = shape.element_count();
  if (from != to) {
    in.fail("element counts differ: " + to_text(in.operand(0)) + " and " + to_text(shape) + " (" +
            from.to_text() + " and " + to.to_text() + ")");
  }
  return {{in.dtype(0), shape}};
}

std::vector<Type> infer_transpose(const Inference& in) {
  const auto& permutation = in.attributes<TransposeAttributes>().permutation;
  const int rank = in.shape(0).rank();
  std::vector<Dim> dims;
  std::vector<bool> seen(rank);
  for (int64_t axis : permutation) {
    if (axis < 0 || axis >= rank || seen[axis]) break;
    seen[axis] = true;
    dims.push_back(in.shape(0)[axis]);
  }
  if (dims.size() != permutation.size() || static_cast<int>(dims.size()) != rank) {
    in.fail(field_text(permutation) + " is no permutation of the axes of " +
            to_text(in.operand(0)));
  }
  return {{in.dtype(0), Shape(std::move(dims))}};
}

std::vector<Type> infer_broadcast_to(const Inference& in) {
  const Shape& shape = in.attributes<ShapeAttributes>().shape;
  if (!broadcasts_to(in.shape(0), shape)) {
    in.fail(to_text(in.operand(0)) + " does not broadcast to " + to_text(shape));
  }
  return {{in.dtype(0), shape}};
}

std::vector<Type> infer_sum_to(const Inference& in) {
  require_numeric(in, 0);
  const Shape& shape = in.attributes<ShapeAttributes>().shape;
  if (!broadcasts_to(shape, in.shape(0))) {
    in.fail(to_text(in.operand(0)) + " does not sum to " + to_text(shape) +
            ", which does not broadcast to it");
  }
  return {{in.dtype(0), shape}};
}

std::vector<Type> infer_concat(const Inference& in) {
  in.require_same_dtype();
  const Shape& first = in.shape(0);
  const int axis = checked_axis(in, in.attributes<AxisAttributes>().axis, first.rank());
  std::vector<Dim> dims = first.dims();
  for (size_t i = 1; i < in.operand_count(); ++i) {
    const Shape& shape = in.shape(i);
    bool fits = shape.rank() == first.rank();
    for (int d = 0; fits && d < first.rank(); ++d) fits = d == axis || shape[d] == first[d];
    if (!fits) {
      in.fail("shapes differ beside axis " + std::to_string(axis) + ": " + to_text(in.operand(0)) +
              " and " + to_text(in.operand(i)));
    }
    dims[axis] = dims[axis] + shape[axis];
  }
  return {{in.dtype(0), Shape(std::move(dims))}};
}

void require_entry_per_axis(const Inference& in, const char* what, int count) {
  if (count != in.shape(0).rank()) {
    in.fail(std::to_string(count) + " " + what + " for " + to_text(in.operand(0)));
  }
}

std::vector<Type> infer_slice(const Inference& in) {
  const auto& slice = in.attributes<SliceAttributes>();
  const Shape& shape = in.shape(0);
  require_entry_per_axis(in, "starts", slice.starts.rank());
  require_entry_per_axis(in, "limits", slice.limits.rank());
  if (!slice.steps.empty()) require_entry_per_axis(in, "steps", slice.steps.size());
  std::vector<Dim> dims;
  for (int d = 0; d < shape.rank(); ++d) {
    const Dim& start = slice.starts[d];
    const Dim& limit = slice.limits[d];
    if (!may_be_ordered(start, limit) || !may_be_ordered(limit, shape[d])) {
      in.fail("no slice " + start.to_text() + ":" + limit.to_text() + " of axis " +
              std::to_string(d) + " of " + to_text(in.operand(0)));
    }
    if (slice.step(d) < 1) in.fail("the step " + std::to_string(slice.step(d)) + " is below 1");
    dims.push_back(ceil_div(limit - start, slice.step(d)));
  }
  return {{in.dtype(0), Shape(std::move(dims))}};
}

std::vector<Type> infer_pad(const Inference& in) {
  const auto& pad = in.attributes<PadAttributes>();
  const Shape& shape = in.shape(0);
  require_entry_per_axis(in, "low paddings", pad.low.rank());
  require_entry_per_axis(in, "high paddings", pad.high.rank());
  if (!pad.interior.empty()) require_entry_per_axis(in, "interior paddings", pad.interior.size());
  std::vector<Dim> dims;
  for (int d = 0; d < shape.rank(); ++d) {
    const int64_t interior = pad.interior_of(d);
    if (interior < 0) in.fail("negative interior padding " + std::to_string(interior));
    const Dim gaps = shape[d] == Dim(0) ? Dim(0) : (shape[d] - 1) * interior;
    dims.push_back(pad.low[d] + shape[d] + gaps + pad.high[d]);
  }
  return {{in.dtype(0), Shape(std::move(dims))}};
}

std::vector<Type> infer_split(const Inference& in) {
  const auto& split = in.attributes<SplitAttributes>();
  const int axis = checked_axis(in, split.axis, in.shape(0).rank());
  if (split.sizes.rank() == 0) in.fail("no sizes");
  std::vector<Type> types;
  Dim total(0);
  for (const Dim& size : split.sizes) {
    std::vector<Dim> dims = in.shape(0).dims();
    dims[axis] = size;
    types.push_back({in.dtype(0), Shape(std::move(dims))});
    total = total + size;
  }
  if (total != in.shape(0)[axis]) {
    in.fail("the sizes " + to_text(split.sizes) + " do not add up to axis " + std::to_string(axis) +
            " of " + to_text(in.operand(0)));
  }
  return types;
}

bool contains(const std::vector<int64_t>& axes, int64_t axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

std::vector<Type> infer_squeeze(const Inference& in) {
  const auto& axes = in.attributes<AxesAttributes>().axes;
  const Shape& shape = in.shape(0);
  check_axes(in, axes, shape.rank());
  std::vector<Dim> dims;
  for (int d = 0; d < shape.rank(); ++d) {
    if (!contains(axes, d)) {
      dims.push_back(shape[d]);
    } else if (shape[d] != Dim(1)) {
      in.fail("axis " + std::to_string(d) + " of " + to_text(in.operand(0)) + " is not 1");
    }
  }
  return {{in.dtype(0), Shape(std::move(dims))}};
}

std::vector<Type> infer_expand_dims(const Inference& in) {
  const auto& axes = in.attributes<AxesAttributes>().axes;
  const Shape& shape = in.shape(0);
  const int rank = shape.rank() + static_cast<int>(axes.size());
  check_axes(in, axes, rank);
  std::vector<Dim> dims;
  int next = 0;
  for (int d = 0; d < rank; ++d) dims.push_back(contains(axes, d) ? Dim(1) : shape[next++]);
  return {{in.dtype(0), Shape(std::move(dims))}};
}

std::vector<Type> infer_dim_size(const Inference& in) {
  checked_axis(in, in.attributes<AxisAttributes>().axis, in.shape(0).rank());
  return {{DType::i64, {}}};
}

template <typename A>
constexpr OpDef unary(std::string_view name, InferTypes infer) {
  return {.name = name,
          .min_operands = 1,
          .max_operands = 1,
          .attributes = &kAttributesOf<A>,
          .infer = infer};
}

// Puts what is left in the place of a -1.
std::vector<Dim> complete_dims(const Located& x, std::vector<Dim> dims) {
  auto unknown = std::find(dims.begin(), dims.end(), Dim(-1));
  if (unknown == dims.end()) return dims;
  Dim known(1);
  for (auto dim = dims.begin(); dim != dims.end(); ++dim) {
    if (dim == unknown) continue;
    if (*dim == Dim(-1)) fail_build(kReshape, x.where, "two dimensions are -1");
    known = known * *dim;
  }
  const Dim count = x.value.shape().element_count();
  if (known == Dim(0)) fail_build(kReshape, x.where, "-1 beside a dimension of 0");
  *unknown = floor_div(count, known);
  if (*unknown * known != count) {
    fail_build(
        kReshape, x.where,
        "the -1 does not come out whole: " + to_text(x.value.type()) + " over " + known.to_text());
  }
  return dims;
}

}  // namespace

constexpr OpDef kReshape = unary<ShapeAttributes>("reshape", infer_reshape);
constexpr OpDef kTranspose = unary<TransposeAttributes>("transpose", infer_transpose);
constexpr OpDef kBroadcastTo = unary<ShapeAttributes>("broadcast_to", infer_broadcast_to);
constexpr OpDef kSumTo = unary<ShapeAttributes>("sum_to", infer_sum_to);
constexpr OpDef kConcat = {.name = "concat",
                           .min_operands = 1,
                           .max_operands = kAnyNumber,
                           .attributes = &kAttributesOf<AxisAttributes>,
                           .infer = infer_concat};
constexpr OpDef kSlice = unary<SliceAttributes>("slice", infer_slice);
constexpr OpDef kPad = unary<PadAttributes>("pad", infer_pad);
constexpr OpDef kSplit = unary<SplitAttributes>("split", infer_split);
constexpr OpDef kSqueeze = unary<AxesAttributes>("squeeze", infer_squeeze);
constexpr OpDef kExpandDims = unary<AxesAttributes>("expand_dims", infer_expand_dims);
constexpr OpDef kDimSize = unary<AxisAttributes>("dim_size", infer_dim_size);

std::span<const OpDef* const> shape_ops() {
  static constexpr const OpDef* kOps[] = {
      &kReshape, &kTranspose,    &kBroadcastTo,       &kSumTo,   &kConcat, &kSlice,      &kPad,
      &kSplit,   &kSqueeze,      &kExpandDims,        &kDimSize, &kGather, &kScatterAdd, &kOneHot,
      &kIota,    &kDynamicSlice, &kDynamicUpdateSlice};
  return kOps;
}

Value reshape(Located x, const ReshapeDims& dims) {
  block_of(kReshape, x);
  const std::vector<Dim> completed = complete_dims(x, dims.dims());
  Shape shape;
  try {
    shape = Shape(completed);
  } catch (const GraphError& error) {
    fail_build(kReshape, x.where, error.what());
  }
  return build(kReshape, x, {}, ShapeAttributes{shape});
}

Value transpose(Located x, std::vector<int64_t> permutation) {
  block_of(kTranspose, x);
  for (int64_t& axis : permutation) axis = complete_axis(axis, x.value.rank());
  return build(kTranspose, x, {}, TransposeAttributes{std::move(permutation)});
}

Value transpose(Located x) {
  block_of(kTranspose, x);
  std::vector<int64_t> permutation(x.value.rank());
  std::iota(permutation.rbegin(), permutation.rend(), 0);
  return transpose(x, std::move(permutation));
}

Value broadcast_to(Located x, const Shape& shape) {
  return build(kBroadcastTo, x, {}, ShapeAttributes{shape});
}

Value sum_to(Located x, const Shape& shape) { return build(kSumTo, x, {}, ShapeAttributes{shape}); }

Value concat(const std::vector<Value>& values, int64_t axis, std::source_location where) {
  if (!values.empty() && values[0]) axis = complete_axis(axis, values[0].rank());
  return build(kConcat, values, AxisAttributes{axis}, where);
}

Value stack(const std::vector<Value>& values, int64_t axis, std::source_location where) {
  std::vector<Value> expanded;
  for (const Value& value : values) expanded.push_back(expand_dims({value, where}, {axis}));
  return concat(expanded, axis, where);
}

Value slice(Located x, const Shape& starts, const Shape& limits, std::vector<int64_t> steps) {
  return build(kSlice, x, {}, SliceAttributes{starts, limits, std::move(steps)});
}

Value slice_axis(Located x, int64_t axis, const Dim& start, const Dim& limit, int64_t step) {
  block_of(kSlice, x);
  const int rank = x.value.rank();
  axis = complete_axis(axis, rank);
  if (axis < 0 || axis >= rank) {
    fail_build(kSlice, x.where,
               "axis " + std::to_string(axis) + " is out of range for " + to_text(x.value.type()));
  }
  std::vector<Dim> starts(rank, Dim(0));
  std::vector<Dim> limits = x.value.shape().dims();
  std::vector<int64_t> steps;
  starts[axis] = start;
  limits[axis] = limit;
  if (step != 1) {
    steps.assign(rank, 1);
    steps[axis] = step;
  }
  return slice(x, Shape(std::move(starts)), Shape(std::move(limits)), std::move(steps));
}

Value pad(Located x, const Shape& low, const Shape& high, std::vector<int64_t> interior,
          double value) {
  return build(kPad, x, {}, PadAttributes{low, high, std::move(interior), value});
}

std::vector<Value> split(Located x, int64_t axis, const Shape& sizes) {
  block_of(kSplit, x);
  axis = complete_axis(axis, x.value.rank());
  return outputs_of(build(kSplit, x, {}, SplitAttributes{axis, sizes}));
}

Value squeeze(Located x, std::vector<int64_t> axes) {
  block_of(kSqueeze, x);
  const Shape& shape = x.value.shape();
  if (axes.empty()) {
    for (int d = 0; d < shape.rank(); ++d) {
      if (shape[d] == Dim(1)) axes.push_back(d);
    }
  }
  return build(kSqueeze, x, {}, AxesAttributes{complete_axes(std::move(axes), shape.rank())});
}

Value expand_dims(Located x, std::vector<int64_t> axes) {
  block_of(kExpandDims, x);
  const int rank = x.value.rank() + static_cast<int>(axes.size());
  return build(kExpandDims, x, {}, AxesAttributes{complete_axes(std::move(axes), rank)});
}

Value dim_size(Located x, int64_t axis) {
  block_of(kDimSize, x);
  return build(kDimSize, x, {}, AxisAttributes{complete_axis(axis, x.value.rank())});
}

Value full(Block& block, const Type& type, double value, std::source_location where) {
  const Value scalar = constant(block, Literal::scalar(type.dtype, value), where);
  return type.shape.rank() == 0 ? scalar : broadcast_to({scalar, where}, type.shape);
}

Value zeros_like(Located x) { return full(block_of(kBroadcastTo, x), x.value.type(), 0, x.where); }

Value ones_like(Located x) { return full(block_of(kBroadcastTo, x), x.value.type(), 1, x.where); }

}  // namespace adjoint
