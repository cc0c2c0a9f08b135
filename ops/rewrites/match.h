// What identities look at: the new operands of the node that is being rewritten.
#pragma once

#include <cmath>
#include <optional>

#include "graph/pass.h"
#include "ops/builder.h"
#include "ops/shape.h"

namespace adjoint {

using Site = const RewriteSite&;

inline bool is(Value v, const OpDef& op) { return v.node().op == &op; }
inline Value operand(Value v, size_t index = 0) {
  return Value(v.block(), v.node().operands[index]);
}

// The one value of all elements of a constant, also of one that is broadcast.
inline std::optional<double> uniform(Value v) {
  while (is(v, kBroadcastTo)) v = operand(v);
  if (!is(v, kConstant)) return std::nullopt;
  const Literal& literal = v.node().attributes.get<ConstantAttributes>().value;
  if (!literal.is_uniform()) return std::nullopt;
  return literal.at(0);
}
inline bool is_uniform(Value v, double value) { return uniform(v) == value; }
// 0, but not -0.
inline bool is_positive_zero(Value v) { return is_uniform(v, 0) && !std::signbit(*uniform(v)); }
// What adds nothing: -0, and any zero among integers.
inline bool is_additive_zero(Value v) {
  return is_uniform(v, 0) && (!is_float(v.dtype()) || std::signbit(*uniform(v)));
}

// v in the shape of the node: an operand may have had to be broadcast.
inline Value fit(Site site, Value v) {
  const Shape& shape = site.node.types[0].shape;
  return v.shape() == shape ? v : broadcast_to(v, shape);
}

}  // namespace adjoint
