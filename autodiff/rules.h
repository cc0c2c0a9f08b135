// Gradient rules: for each op, how a cotangent of its outputs becomes cotangents of its operands.
//
//   void add_my_rules(RuleSet& rules) {
//     using C = const RuleContext&;
//     rules.add(kMul, {[](C c) { return mul(c.cotangent(), c.operand(1)); },
//                      [](C c) { return mul(c.cotangent(), c.operand(0)); }});
//     rules.add(kGather, {gather_data_rule, NoGradient::kIndices});
//   }
//
// A rule only builds nodes and is linear in the cotangent. Its result has the shape of the operand,
// or a shape that the operand was broadcast to: the pass sums it back. Each operand's rule runs
// only where that operand's gradient is wanted.
#pragma once

#include <concepts>
#include <initializer_list>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "graph/block.h"

namespace adjoint {

// Why an operand has no gradient. A closed list: tests accept nothing else.
enum class NoGradient {
  kInteger,            // integer or boolean operand
  kIndices,            // positions, labels, class ids
  kRandomKey,          // keys of random ops
  kPiecewiseConstant,  // derivative zero wherever it exists (floor, sign, comparisons)
  kShapeOnly,          // only the operand's shape matters
  kStopped,            // stop_gradient
};

// One node's view while its rule runs; everything it builds goes into the node's block.
class RuleContext {
 public:
  RuleContext(Value node, std::vector<Value> cotangents)
      : node_(node), cotangents_(std::move(cotangents)) {}

  Value operand(size_t index) const { return Value(node_.block(), node_.node().operands[index]); }
  size_t operand_count() const { return node_.node().operands.size(); }
  Value output(int index = 0) const { return node_.output(index); }
  // The cotangent of an output; zeros where nothing reached it.
  Value cotangent(int index = 0) const;
  bool has_cotangent(int index) const { return static_cast<bool>(cotangents_[index]); }
  template <typename A>
  const A& attributes() const {
    return node_.node().attributes.get<A>();
  }
  // The operand that the rule differentiates for; matters to rules shared by several.
  size_t index() const { return index_; }
  // What `build` returns, built once for all operands of this node: for gradient ops with several
  // outputs.
  Value once(Value (*build)(const RuleContext&)) const;

 private:
  friend class GradientPass;

  Value node_;
  mutable std::vector<Value> cotangents_;
  size_t index_ = 0;
  mutable Value shared_;
};

using Rule = Value (*)(const RuleContext&);

// The rule for one operand, or the reason why there is none.
struct OperandRule {
  template <std::convertible_to<Rule> F>
  OperandRule(F f) : rule(f) {}             // NOLINT
  OperandRule(NoGradient r) : reason(r) {}  // NOLINT

  Rule rule = nullptr;
  std::optional<NoGradient> reason;
};

class RuleSet {
 public:
  // One entry for each operand; the last one serves all further operands. A second rule for an op
  // replaces the first (a user's own). Throws GraphError for an empty list.
  void add(const OpDef& op, std::vector<OperandRule> rules);
  // Null where the op has none.
  const std::vector<OperandRule>* find(const OpDef& op) const;

 private:
  std::map<std::string_view, std::vector<OperandRule>> rules_;
};

// The rules of all standard ops.
RuleSet standard_rules();

}  // namespace adjoint
