// Reverse-mode differentiation: adds the gradient nodes to the function being built.
//
//   std::vector<Value> g = gradients({loss}, {w, b});        // dloss/dw, dloss/db
//   std::vector<Value> v = gradients({y}, {x}, {u});         // u^T dy/dx
//
// Every new node's origin names the forward node, the rule and the operand (GradientOrigin). Rules
// that belong to no op: `seed` (the ones), `zeros` (a w that nothing reaches), `accumulate` (the
// sum over a value's users), `decompose` (a composite's own nodes, built again in simpler ops).
#pragma once

#include <source_location>
#include <vector>

#include "autodiff/rules.h"
#include "graph/block.h"

namespace adjoint {

struct GradientOptions {
  const RuleSet* rules = nullptr;  // null: standard_rules()
};

// For each w of `wrt` the sum over outputs of cotangent^T * d output / d w, of w's own type.
// `cotangents`: one for each output, of its shape; empty means ones (for a scalar loss: the plain
// gradient). A w may be any value, also one between another w and the outputs: each gets its total
// derivative. A w that nothing reaches gets zeros; `unreached`, if given, receives their positions.
// An op without a rule is differentiated through its decomposition. Linear in the number of nodes,
// without recursion. Throws GraphError: outputs not of one block or not float; cotangents of the
// wrong type; all missing rules in one message, before anything is built.
std::vector<Value> gradients(const std::vector<Value>& outputs, const std::vector<Value>& wrt,
                             const std::vector<Value>& cotangents = {},
                             const GradientOptions& options = {},
                             std::vector<size_t>* unreached = nullptr,
                             std::source_location where = std::source_location::current());

}  // namespace adjoint
