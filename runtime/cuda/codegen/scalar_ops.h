// Elementwise ops as C++ expressions of their operands.
//
//   scalar_expression(node, {"t1", "t2"}, dtype) == "scalar::add(t1, t2)"
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graph/block.h"

namespace adjoint::cuda {

// The type's name in device code: "float", "Bf16", "int64_t".
std::string type_name(DType dtype);
// What it is computed in: "float" for the 16-bit types too.
std::string compute_name(DType dtype);
// The constant in the type's compute type, exact.
std::string literal_text(DType dtype, double value);
std::string integer_text(int64_t value);

// Whether the op has an expression.
bool has_scalar_expression(const OpDef& op);
// The expression for operands of these names; `dtype` is the last operand's type.
std::optional<std::string> scalar_expression(const Node& node,
                                             const std::vector<std::string>& operands, DType dtype);

}  // namespace adjoint::cuda
