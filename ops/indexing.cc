#include "ops/indexing.h"

#include <string>

#include "ops/builder.h"

namespace adjoint {
namespace {

// data[:axis] + indices + data[axis+1:]
Shape gathered_shape(const Inference& in, const Shape& data, const Shape& indices) {
  const int axis = checked_axis(in, in.attributes<AxisAttributes>().axis, data.rank());
  std::vector<Dim> dims(data.begin(), data.begin() + axis);
  dims.insert(dims.end(), indices.begin(), indices.end());
  dims.insert(dims.end(), data.begin() + axis + 1, data.end());
  return Shape(std::move(dims));
}

std::vector<Type> infer_gather(const Inference& in) {
  in.require_integer(1);
  return {{in.dtype(0), gathered_shape(in, in.shape(0), in.shape(1))}};
}

std::vector<Type> infer_scatter_add(const Inference& in) {
  require_numeric(in, 0);
  in.require_integer(1);
  const Type wanted{in.dtype(0), gathered_shape(in, in.shape(0), in.shape(1))};
  if (in.operand(2) != wanted) {
    in.fail("the updates are " + to_text(in.operand(2)) + ", not " + to_text(wanted));
  }
  return {in.operand(0)};
}

std::vector<Type> infer_one_hot(const Inference& in) {
  in.require_integer(0);
  const auto& [depth, dtype] = in.attributes<OneHotAttributes>();
  std::vector<Dim> dims = in.shape(0).dims();
  dims.push_back(depth);
  return {{dtype, Shape(std::move(dims))}};
}

std::vector<Type> infer_iota(const Inference& in) {
  const auto& [shape, axis, dtype] = in.attributes<IotaAttributes>();
  checked_axis(in, axis, shape.rank());
  if (dtype == DType::boolean) in.fail("bool is not a number type");
  return {{dtype, shape}};
}

// The starts are the operands from `first` on.
void check_window(const Inference& in, size_t first, const Shape& sizes) {
  const Shape& shape = in.shape(0);
  if (sizes.rank() != shape.rank()) {
    in.fail("a window " + to_text(sizes) + " of " + to_text(in.operand(0)));
  }
  if (in.operand_count() - first != static_cast<size_t>(shape.rank())) {
    in.fail(std::to_string(in.operand_count() - first) + " starts for " + to_text(in.operand(0)));
  }
  for (int d = 0; d < shape.rank(); ++d) {
    const Dim room = shape[d] - sizes[d];
    if (room.is_constant() && room.value() < 0) {
      in.fail("the window " + to_text(sizes) + " does not fit " + to_text(in.operand(0)));
    }
    in.require_dtype(first + d, DType::i64);
    in.require_rank(first + d, 0);
  }
}

std::vector<Type> infer_dynamic_slice(const Inference& in) {
  const Shape& sizes = in.attributes<DynamicSliceAttributes>().sizes;
  check_window(in, 1, sizes);
  return {{in.dtype(0), sizes}};
}

std::vector<Type> infer_dynamic_update_slice(const Inference& in) {
  if (in.dtype(0) != in.dtype(1)) {
    in.fail("element types differ: " + to_text(in.operand(0)) + " and " + to_text(in.operand(1)) +
            " (use cast)");
  }
  check_window(in, 2, in.shape(1));
  return {in.operand(0)};
}

}  // namespace

constexpr OpDef kGather = {.name = "gather",
                           .min_operands = 2,
                           .max_operands = 2,
                           .attributes = &kAttributesOf<AxisAttributes>,
                           .infer = infer_gather,
                           .traits = {.data_checked = true}};
constexpr OpDef kScatterAdd = {.name = "scatter_add",
                               .min_operands = 3,
                               .max_operands = 3,
                               .attributes = &kAttributesOf<AxisAttributes>,
                               .infer = infer_scatter_add,
                               .traits = {.data_checked = true}};
constexpr OpDef kOneHot = {.name = "one_hot",
                           .min_operands = 1,
                           .max_operands = 1,
                           .attributes = &kAttributesOf<OneHotAttributes>,
                           .infer = infer_one_hot};
constexpr OpDef kIota = {
    .name = "iota", .attributes = &kAttributesOf<IotaAttributes>, .infer = infer_iota};
constexpr OpDef kDynamicSlice = {.name = "dynamic_slice",
                                 .min_operands = 1,
                                 .max_operands = 1 + kMaxRank,
                                 .attributes = &kAttributesOf<DynamicSliceAttributes>,
                                 .infer = infer_dynamic_slice};
constexpr OpDef kDynamicUpdateSlice = {.name = "dynamic_update_slice",
                                       .min_operands = 2,
                                       .max_operands = 2 + kMaxRank,
                                       .infer = infer_dynamic_update_slice};

Value gather(Located data, Value indices, int64_t axis) {
  block_of(kGather, data);
  return build(kGather, data, {indices}, AxisAttributes{complete_axis(axis, data.value.rank())});
}

Value scatter_add(Located target, Value indices, Value updates, int64_t axis) {
  block_of(kScatterAdd, target);
  return build(kScatterAdd, target, {indices, updates},
               AxisAttributes{complete_axis(axis, target.value.rank())});
}

Value one_hot(Located indices, const Dim& depth, DType dtype) {
  return build(kOneHot, indices, {}, OneHotAttributes{depth, dtype});
}

Value iota(Block& block, const Shape& shape, int64_t axis, DType dtype,
           std::source_location where) {
  return block.add(kIota, {}, IotaAttributes{shape, complete_axis(axis, shape.rank()), dtype},
                   where);
}

Value dynamic_slice(Located x, const std::vector<Value>& starts, const Shape& sizes) {
  std::vector<Value> operands{x};
  operands.insert(operands.end(), starts.begin(), starts.end());
  return build(kDynamicSlice, operands, DynamicSliceAttributes{sizes}, x.where);
}

Value dynamic_update_slice(Located x, Value update, const std::vector<Value>& starts) {
  std::vector<Value> operands{x, update};
  operands.insert(operands.end(), starts.begin(), starts.end());
  return build(kDynamicUpdateSlice, operands, {}, x.where);
}

}  // namespace adjoint
