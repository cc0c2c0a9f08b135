// What the op families share: how a builder adds its node, and checks of shape inference.
//
//   Value relu(Located x) { return build(kRelu, x); }
//   Value add(Located a, Value b) { return build(kAdd, a, {b}); }
//
// A builder only completes attributes (a negative axis becomes the one it means); what is wrong,
// inference finds, so that every error carries the op's name and the user's line.
#pragma once

#include <initializer_list>
#include <source_location>
#include <span>
#include <string>
#include <vector>

#include "graph/block.h"

namespace adjoint {

// Adds a node of `op` to the block of `first`; returns its first output. Throws GraphError.
Value build(const OpDef& op, const Located& first, std::initializer_list<Value> rest = {},
            Attributes attributes = {});
// The same for a list of operands, which must not be empty.
Value build(const OpDef& op, std::span<const Value> operands, Attributes attributes,
            const std::source_location& where);
// All outputs of the node that `first` belongs to.
std::vector<Value> outputs_of(Value first);

// The block of x, for builders that look at x before they build; throws GraphError where x is
// empty.
Block& block_of(const OpDef& op, const Located& x);
// Throws GraphError "op: message\n  built at ...".
[[noreturn]] void fail_build(const OpDef& op, const std::source_location& where,
                             const std::string& message);

// A scalar constant of x's type. For integers the value must be exact; none for bool (GraphError).
Value scalar_like(const Located& x, double value);

// A negative axis counted from the back; left alone where it is out of range, for inference to say.
int64_t complete_axis(int64_t axis, int rank);
// The same for each, sorted.
std::vector<int64_t> complete_axes(std::vector<int64_t> axes, int rank);

// In inference: the axis as it must be stored, from 0 to rank - 1; else GraphError.
int checked_axis(const Inference& in, int64_t axis, int rank);
// Stored axes: sorted, each once.
void check_axes(const Inference& in, const std::vector<int64_t>& axes, int rank);
// Of products: all operands of one float type, and what they are added up in f32 or f64.
void require_accumulation(const Inference& in, DType accumulate);
// Neither bool, nor anything else that has no arithmetic.
void require_numeric(const Inference& in, size_t index);
// The operands' shapes broadcast together, from operand `from` on; GraphError names their types.
Shape broadcast_operands(const Inference& in, size_t from = 0);
// Whether a tensor of shape `from` broadcasts to exactly `to`.
bool broadcasts_to(const Shape& from, const Shape& to);

}  // namespace adjoint
