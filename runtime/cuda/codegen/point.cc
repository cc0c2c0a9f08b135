#include "runtime/cuda/codegen/point.h"

#include <algorithm>
#include <cstdio>

#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/philox.h"
#include "ops/random.h"
#include "ops/shape.h"
#include "runtime/cuda/codegen/scalar_ops.h"
#include "runtime/tensor.h"

namespace adjoint::cuda {
namespace {

// The map of an operand that broadcasts to the mapped value.
PointMap broadcast_map(const PointMap& map, const std::vector<int64_t>& dims) {
  PointMap result(dims.size());
  const size_t added = map.size() - dims.size();
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] != 1) result[i] = map[added + i];
  }
  return result;
}

AxisMap scaled(const AxisMap& map, int64_t offset, int64_t scale) {
  return {offset + scale * map.offset, map.axis, map.axis < 0 ? 0 : scale * map.scale};
}

Axes axes_of(const PointMap& map) {
  Axes axes = 0;
  for (const AxisMap& axis : map) {
    if (axis.axis >= 0) axes |= Axes{1} << axis.axis;
  }
  return axes;
}

std::string hex(uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llxULL", static_cast<unsigned long long>(value));
  return text;
}

bool is_uniform_constant(const Node& node) {
  if (node.op != &kConstant) return false;
  const Literal& value = node.attributes.get<ConstantAttributes>().value;
  return value.element_count() > 0 && value.is_uniform();
}

bool is_moving(const OpDef* op) {
  return op == &kBroadcastTo || op == &kTranspose || op == &kSlice || op == &kSplit;
}
bool is_special(const OpDef* op) {
  static constexpr const OpDef* kOps[] = {&kGather,  &kPad,          &kConcat,      &kOneHot,
                                          &kIota,    &kNormal,       &kUniform,     &kBernoulli,
                                          &kDimSize, &kDynamicSlice, &kPermuteIndex};
  return std::find(std::begin(kOps), std::end(kOps), op) != std::end(kOps);
}

}  // namespace

PointMap identity_map(const std::vector<int64_t>& dims) {
  PointMap map(dims.size());
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] != 1) map[i] = {0, static_cast<int>(i), 1};
  }
  return map;
}

bool reads_freely(const Node& node, size_t operand) {
  if (node.op == &kConcat) return true;
  const bool reads_first = node.op == &kGather || node.op == &kPad || node.op == &kDynamicSlice;
  return reads_first && operand == 0;
}

bool gathers_in_range(const Block& block, const Node& gather) {
  const Node& index = block.node(gather.operands[1]);
  if (index.op != &kPermuteIndex) return false;
  const Dim& n = index.attributes.get<PermuteIndexAttributes>().n;
  const auto axis = static_cast<int>(gather.attributes.get<AxisAttributes>().axis);
  const Dim& limit = block.type(gather.operands[0]).shape[axis];
  return n.is_constant() && limit.is_constant() && n.value() <= limit.value();
}

bool is_pointwise(const Node& node) {
  return is_uniform_constant(node) || has_scalar_expression(*node.op) || is_moving(node.op) ||
         is_special(node.op);
}

bool is_pointwise(const Block& body, const Node& node) {
  if (!is_pointwise(node)) return false;
  for (size_t i = 0; i < node.operands.size(); ++i) {
    if (reads_freely(node, i) && body.node(node.operands[i]).op != &kArgument) return false;
  }
  return true;
}

std::string PointWriter::value(ValueId id, const PointMap& map) {
  const auto key = std::pair(id, map);
  const auto found = known_.find(key);
  if (found != known_.end()) return found->second;
  std::string name = compute(id, map);
  known_[key] = name;
  return name;
}

std::string PointWriter::compute(ValueId id, const PointMap& map) {
  const Node& node = body_.node(id);
  const OpDef* op = node.op;
  if (op == &kArgument) return load(id, map);
  if (op == &kConstant) return constant(node);
  if (op == &kDimSize) {
    const int64_t axis = node.attributes.get<AxisAttributes>().axis;
    return "static_cast<int64_t>(" + integer_text(dims(node.operands[0])[axis]) + ")";
  }
  if (op == &kSplit) {
    const auto& split = node.attributes.get<SplitAttributes>();
    PointMap source = map;
    for (int i = 0; i < id.output; ++i) source[split.axis].offset += split.sizes[i].value();
    return value(node.operands[0], source);
  }
  if (is_moving(op)) return moved(node, map);
  if (op == &kGather) return gather(node, map);
  if (op == &kPad) return pad(node, map);
  if (op == &kConcat) return concat(node, map);
  if (op == &kOneHot) return one_hot(node, map);
  if (op == &kDynamicSlice) return dynamic_slice(node, map);
  if (op == &kPermuteIndex) return permute_index(node, map);
  if (op == &kUniform || op == &kNormal || op == &kBernoulli) return random(node, map);
  if (op == &kIota) {
    const auto& iota = node.attributes.get<IotaAttributes>();
    const DType dtype = node.types[0].dtype;
    return define(
        dtype, "static_cast<" + compute_name(dtype) + ">(" + coordinate(map[iota.axis]) + ")", map);
  }
  return scalar(node, map);
}

std::string PointWriter::define(DType dtype, const std::string& expression, const PointMap& map) {
  const std::string name = "t" + std::to_string(lines_.size());
  const bool short_float = dtype == DType::bf16 || dtype == DType::f16;
  lines_.push_back(
      {"const " + compute_name(dtype) + " " + name + " = " +
           (short_float ? "rounded<" + type_name(dtype) + ">(" + expression + ")" : expression) +
           ";",
       axes_of(map)});
  return name;
}

std::string PointWriter::load(ValueId id, const PointMap& map) {
  const std::string name = "x" + std::to_string(loads_.size());
  loads_.push_back(
      {input_of(id), body_.type(id).dtype, add_address(row_major_strides(dims(id)), map), name});
  return name;
}

std::string PointWriter::constant(const Node& node) const {
  const Literal& value = node.attributes.get<ConstantAttributes>().value;
  if (value.dtype() == DType::i64) {
    return "static_cast<int64_t>(" + integer_text(value.integer_at(0)) + ")";
  }
  return literal_text(value.dtype(), value.at(0));
}

std::string PointWriter::operand(const Node& node, size_t index, const PointMap& map) {
  const ValueId id = node.operands[index];
  return value(id, broadcast_map(map, dims(id)));
}

std::string PointWriter::scalar(const Node& node, const PointMap& map) {
  std::vector<std::string> names;
  for (size_t i = 0; i < node.operands.size(); ++i) names.push_back(operand(node, i, map));
  const DType dtype = body_.type(node.operands.back()).dtype;
  return define(node.types[0].dtype, *scalar_expression(node, names, dtype), map);
}

std::string PointWriter::moved(const Node& node, const PointMap& map) {
  const ValueId from = node.operands[0];
  if (node.op == &kBroadcastTo) return operand(node, 0, map);
  PointMap source(map.size());
  if (node.op == &kTranspose) {
    const auto& permutation = node.attributes.get<TransposeAttributes>().permutation;
    for (size_t i = 0; i < map.size(); ++i) source[permutation[i]] = map[i];
  } else {
    const auto& slice = node.attributes.get<SliceAttributes>();
    for (size_t i = 0; i < map.size(); ++i) {
      source[i] = scaled(map[i], slice.starts[static_cast<int>(i)].value(),
                         slice.step(static_cast<int>(i)));
    }
  }
  return value(from, source);
}

int PointWriter::add_address(const std::vector<int64_t>& strides, const PointMap& map) {
  Affine affine;
  affine.strides.resize(space_.dims().size(), 0);
  for (size_t i = 0; i < map.size(); ++i) {
    affine.offset += map[i].offset * strides[i];
    if (map[i].axis >= 0) affine.strides[map[i].axis] += map[i].scale * strides[i];
  }
  return space_.add(std::move(affine));
}

std::string PointWriter::address(const std::vector<int64_t>& strides, const PointMap& map) {
  return "i" + std::to_string(add_address(strides, map));
}

std::string PointWriter::coordinate(const AxisMap& map) { return address({1}, {map}); }

std::string PointWriter::read(ValueId argument, const std::string& index) {
  const int input = input_of(argument);
  free_reads_.push_back(input);
  return "load<" + type_name(body_.type(argument).dtype) + ">(p.in[" + std::to_string(input) +
         "], " + index + ")";
}

std::string PointWriter::gather(const Node& node, const PointMap& map) {
  const int64_t axis = node.attributes.get<AxisAttributes>().axis;
  const std::vector<int64_t> data = dims(node.operands[0]);
  const size_t index_rank = dims(node.operands[1]).size();
  const auto begin = map.begin() + axis;
  const PointMap index_map(begin, begin + index_rank);
  std::string place = value(node.operands[1], index_map);
  if (!gathers_in_range(body_, node)) {
    place =
        define(DType::i64,
               "checked_index(" + place + ", " + integer_text(data[axis]) + ", p.status, p.launch)",
               index_map);
  }
  if (data[axis] == 0) return literal_text(node.types[0].dtype, 0);  // there is nothing to read
  const std::vector<int64_t> strides = row_major_strides(data);
  std::vector<int64_t> rest_strides = strides;
  rest_strides.erase(rest_strides.begin() + axis);
  PointMap rest(map.begin(), begin);
  rest.insert(rest.end(), begin + index_rank, map.end());
  return define(node.types[0].dtype,
                read(node.operands[0], place + " * " + integer_text(strides[axis]) + " + " +
                                           address(rest_strides, rest)),
                map);
}

std::string PointWriter::pad(const Node& node, const PointMap& map) {
  const auto& pad = node.attributes.get<PadAttributes>();
  const std::vector<int64_t> from = dims(node.operands[0]);
  const std::vector<int64_t> strides = row_major_strides(from);
  std::string inside = "true", index = "0";
  for (size_t i = 0; i < from.size(); ++i) {
    const int axis = static_cast<int>(i);
    const int64_t step = pad.interior_of(axis) + 1;
    const std::string at =
        define(DType::i64, coordinate(map[i]) + " - " + integer_text(pad.low[axis].value()), map);
    inside += " && " + at + " >= 0 && " + at + " < " + integer_text((from[i] - 1) * step + 1);
    if (step > 1) inside += " && " + at + " % " + integer_text(step) + " == 0";
    index += " + " + at + " / " + integer_text(step) + " * " + integer_text(strides[i]);
  }
  const DType dtype = node.types[0].dtype;
  // Nothing is inside of an empty operand.
  const bool empty = std::find(from.begin(), from.end(), 0) != from.end();
  return define(dtype,
                (empty ? "false" : inside) + " ? " + read(node.operands[0], index) + " : " +
                    literal_text(dtype, pad.value),
                map);
}

std::string PointWriter::concat(const Node& node, const PointMap& map) {
  const int64_t axis = node.attributes.get<AxisAttributes>().axis;
  const std::string at = coordinate(map[axis]);
  std::string expression, closing;
  int64_t begin = 0;
  for (size_t i = 0; i < node.operands.size(); ++i) {
    PointMap part = map;
    part[axis].offset -= begin;
    const std::vector<int64_t> from = dims(node.operands[i]);
    begin += from[axis];
    const std::string element = read(node.operands[i], address(row_major_strides(from), part));
    const bool last = i + 1 == node.operands.size();
    expression += last ? element : at + " < " + integer_text(begin) + " ? " + element + " : ";
  }
  return define(node.types[0].dtype, expression, map);
}

std::string PointWriter::one_hot(const Node& node, const PointMap& map) {
  const std::string index = value(node.operands[0], PointMap(map.begin(), map.end() - 1));
  const DType dtype = node.types[0].dtype;
  return define(dtype,
                "static_cast<int64_t>(" + index + ") == " + coordinate(map.back()) + " ? " +
                    literal_text(dtype, 1) + " : " + literal_text(dtype, 0),
                map);
}

std::string PointWriter::dynamic_slice(const Node& node, const PointMap& map) {
  const std::vector<int64_t> from = dims(node.operands[0]);
  const std::vector<int64_t> strides = row_major_strides(from);
  std::string index = address(strides, map);
  for (size_t i = 0; i < from.size(); ++i) {
    const Shape& sizes = node.attributes.get<DynamicSliceAttributes>().sizes;
    const int64_t last = from[i] - sizes[static_cast<int>(i)].value();
    index += " + clamped_start(" + value(node.operands[1 + i], {}) + ", " + integer_text(last) +
             ") * " + integer_text(strides[i]);
  }
  return define(node.types[0].dtype, read(node.operands[0], index), map);
}

std::string PointWriter::permute_index(const Node& node, const PointMap& map) {
  long_axes_ |= axes_of(map);
  const std::string n = integer_text(node.attributes.get<PermuteIndexAttributes>().n.value());
  const std::string key = value(node.operands[0], {});
  const std::string index =
      define(DType::i64,
             "checked_index(" + operand(node, 1, map) + ", " + n + ", p.status, p.launch)", map);
  return define(DType::i64,
                "static_cast<int64_t>(philox::permute_index(static_cast<uint64_t>(" + key +
                    "), static_cast<uint64_t>(" + index + "), " + n + "))",
                map);
}

std::string PointWriter::random(const Node& node, const PointMap& map) {
  const std::string key = value(node.operands[0], {});
  const DType dtype = node.types[0].dtype;
  const std::string index = address(row_major_strides(node.types[0].shape.static_dims()), map);
  const DType compute = dtype == DType::f64 ? DType::f64 : DType::f32;
  auto element = [&](const std::string& kind, int64_t stream, double a, double b) {
    return define(dtype,
                  kind + "_element<" + compute_name(dtype) + ">(" + key + ", " +
                      integer_text(stream) + ", " + index + ", " + literal_text(compute, a) + ", " +
                      literal_text(compute, b) + ")",
                  map);
  };
  if (node.op == &kUniform) {
    const auto& a = node.attributes.get<UniformAttributes>();
    return element("uniform", a.stream, a.low, a.high);
  }
  if (node.op == &kNormal) {
    const auto& a = node.attributes.get<NormalAttributes>();
    return element("normal", a.stream, a.mean, a.stddev);
  }
  const auto& a = node.attributes.get<BernoulliAttributes>();
  return define(DType::boolean,
                "bernoulli_element(" + key + ", " + integer_text(a.stream) + ", " + index + ", " +
                    hex(philox::bernoulli_threshold(a.p)) + ")",
                map);
}

std::vector<int64_t> PointWriter::dims(ValueId id) const {
  return body_.type(id).shape.static_dims();
}

int PointWriter::input_of(ValueId argument) const {
  const auto& arguments = body_.arguments();
  return static_cast<int>(std::find(arguments.begin(), arguments.end(), argument) -
                          arguments.begin());
}

}  // namespace adjoint::cuda
