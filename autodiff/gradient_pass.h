// The traversal behind gradients(): marks the nodes between `wrt` and the outputs, then runs their
// rules from the last to the first.
//
// A pass works on a window of the block, from node `begin` on. For a whole function the window
// begins at the first of `wrt`; for the decomposition of a composite node it holds the nodes that
// the decomposition has just appended, and `wrt` are the composite's operands, before the window.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "autodiff/rules.h"
#include "graph/block.h"

namespace adjoint {

class GradientPass {
 public:
  // `composite`: the node whose decomposition this is, and that all new nodes' origins name.
  GradientPass(Block& block, const RuleSet& rules, int32_t begin, const Node* composite = nullptr)
      : block_(block), rules_(rules), begin_(begin), composite_(composite) {}

  // Marks the nodes that matter; builds nothing. Call once, before run().
  void mark(std::span<const Value> outputs, std::span<const Value> wrt);
  // By name, a line for each op without a rule among the marked nodes and their decompositions.
  const std::map<std::string_view, std::string>& missing() const { return missing_; }
  // Whether a value depends on `wrt`.
  bool carries(ValueId id) const;

  // Runs the rules of the marked nodes; seeds[i] is the cotangent of outputs[i] and may be empty.
  void run(std::span<const Value> outputs, std::span<const Value> seeds);
  // The cotangent that reached a value of `wrt`; empty where none did.
  Value cotangent(ValueId id) const { return cotangents_[slot(id)]; }

 private:
  static constexpr int32_t kNoSlot = -1;

  // What the new nodes' origins say about the node that they come from.
  GradientScope scope(const Node& node, std::string rule, int64_t operand = -1,
                      std::string note = {}) const;
  int32_t slot(ValueId id) const;
  // Whether a gradient can flow from the node to this operand.
  bool flows(const Node& node, size_t operand) const;
  void assign_slots(std::span<const Value> outputs, std::span<const Value> wrt);
  void mark_forward();
  void mark_backward(std::span<const Value> outputs);
  void note_missing(const Node& node);
  void note_missing_inside(const Node& composite);

  void differentiate(int32_t index);
  void apply_rules(int32_t index, const std::vector<OperandRule>& rules);
  void decompose(int32_t index);
  Value fitted(const Node& node, size_t operand, Value result) const;
  void accumulate(ValueId id, Value cotangent);

  Block& block_;
  const RuleSet& rules_;
  int32_t begin_;
  int32_t end_ = 0;
  const Node* composite_;

  // A slot for every output of the window's nodes, then for each of `wrt` before the window.
  std::vector<int32_t> first_slots_;  // by node of the window
  std::unordered_map<int64_t, int32_t> outside_slots_;
  std::vector<char> carries_;  // by slot: depends on `wrt`, or is of it
  std::vector<char> live_;     // by node of the window: its rules must run
  std::vector<Value> cotangents_;
  std::map<std::string_view, std::string> missing_;
  std::set<const OpDef*> checked_composites_;
};

}  // namespace adjoint
