#include "ops/builder.h"

#include <algorithm>
#include <cmath>

#include "graph/error.h"

namespace adjoint {

Value build(const OpDef& op, const Located& first, std::initializer_list<Value> rest,
            Attributes attributes) {
  std::vector<Value> operands;
  operands.reserve(1 + rest.size());
  operands.push_back(first);
  operands.insert(operands.end(), rest);
  return block_of(op, first).add(op, operands, std::move(attributes), first.where);
}

Value build(const OpDef& op, std::span<const Value> operands, Attributes attributes,
            const std::source_location& where) {
  if (operands.empty()) fail_build(op, where, "no operands");
  return block_of(op, Located(operands[0], where)).add(op, operands, std::move(attributes), where);
}

std::vector<Value> outputs_of(Value first) {
  std::vector<Value> outputs;
  for (size_t i = 0; i < first.node().types.size(); ++i) {
    outputs.push_back(first.output(static_cast<int>(i)));
  }
  return outputs;
}

Block& block_of(const OpDef& op, const Located& x) {
  if (!x.value) fail_build(op, x.where, "operand 0 is an empty value");
  return x.value.block();
}

void fail_build(const OpDef& op, const std::source_location& where, const std::string& message) {
  throw GraphError(std::string(op.name) + ": " + message + "\n  built at " +
                   to_text(SourceLine{where.file_name(), where.line()}));
}

Value scalar_like(const Located& x, double value) {
  Block& block = block_of(kConstant, x);
  const DType dtype = x.value.dtype();
  Literal literal = Literal::scalar(dtype, value);
  if (dtype == DType::boolean || (is_integer(dtype) && literal.at(0) != value)) {
    fail_build(kConstant, x.where,
               field_text(value) + " is no value of " + to_text(x.value.type()));
  }
  return constant(block, std::move(literal), x.where);
}

int64_t complete_axis(int64_t axis, int rank) {
  return axis < 0 && axis >= -rank ? axis + rank : axis;
}

std::vector<int64_t> complete_axes(std::vector<int64_t> axes, int rank) {
  for (int64_t& axis : axes) axis = complete_axis(axis, rank);
  std::sort(axes.begin(), axes.end());
  return axes;
}

int checked_axis(const Inference& in, int64_t axis, int rank) {
  if (axis < 0 || axis >= rank) {
    in.fail("axis " + std::to_string(axis) + " is out of range for rank " + std::to_string(rank) +
            (in.operand_count() > 0 ? ": " + to_text(in.operand(0)) : ""));
  }
  return static_cast<int>(axis);
}

void check_axes(const Inference& in, const std::vector<int64_t>& axes, int rank) {
  for (size_t i = 0; i < axes.size(); ++i) {
    checked_axis(in, axes[i], rank);
    if (i > 0 && axes[i] == axes[i - 1]) {
      in.fail("axis " + std::to_string(axes[i]) + " is named twice");
    }
    if (i > 0 && axes[i] < axes[i - 1]) in.fail("the axes are not sorted");
  }
}

void require_accumulation(const Inference& in, DType accumulate) {
  in.require_float(0);
  in.require_same_dtype();
  if (accumulate != DType::f32 && accumulate != DType::f64) {
    in.fail("accumulate is " + std::string(name(accumulate)) + ", not f32 or f64");
  }
}

void require_numeric(const Inference& in, size_t index) {
  if (in.dtype(index) == DType::boolean) {
    in.fail("operand " + std::to_string(index) + " is " + to_text(in.operand(index)) +
            ", not a number type");
  }
}

Shape broadcast_operands(const Inference& in, size_t from) {
  Shape shape = in.shape(from);
  for (size_t i = from + 1; i < in.operand_count(); ++i) {
    try {
      shape = broadcast_shapes(shape, in.shape(i));
    } catch (const GraphError& error) {
      // The reason alone, "(3 and 4)", after the types of all operands.
      const std::string what = error.what();
      std::string message = "shapes do not broadcast: ";
      for (size_t j = from; j < in.operand_count(); ++j) {
        message += (j == from ? "" : " and ") + to_text(in.operand(j));
      }
      in.fail(message + what.substr(std::min(what.rfind(" ("), what.size())));
    }
  }
  return shape;
}

bool broadcasts_to(const Shape& from, const Shape& to) {
  if (from.rank() > to.rank()) return false;
  for (int back = 1; back <= from.rank(); ++back) {
    const Dim& dim = from[from.rank() - back];
    if (dim != Dim(1) && dim != to[to.rank() - back]) return false;
  }
  return true;
}

}  // namespace adjoint
