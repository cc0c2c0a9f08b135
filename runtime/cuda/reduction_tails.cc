#include "runtime/cuda/reduction_tails.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "ops/region.h"
#include "runtime/cuda/codegen/generate.h"
#include "runtime/cuda/codegen/reductions.h"
#include "runtime/cuda/region_builder.h"
#include "runtime/fallible.h"
#include "runtime/plan.h"

namespace adjoint::cuda {
namespace {

// Whether this output of a node, or of a region, is the result of a reduction.
bool is_reduced(const Function& function, ValueId value) {
  const Node& node = function.node(value);
  if (node.op != &kRegion) return !reduction_info(function, node).accumulator.empty();
  const Block& body = *node.blocks[0];
  const ValueId inner = body.results()[value.output].value;
  return !reduction_info(body, body.node(inner)).accumulator.empty();
}

class Tails {
 public:
  explicit Tails(const Function& function)
      : function_(function), early_(needed_by_fallible(function)) {
    reduction_of_.assign(function.size(), -1);
    for (int32_t i = 0; i < size(); ++i) {
      reduction_of_[i] = find_reduction(i);
      if (reduction_of_[i] >= 0) tails_[reduction_of_[i]].push_back(i);
    }
  }

  std::optional<Rewritten> run() {
    if (tails_.empty()) return std::nullopt;
    find_outside();
    auto fresh = std::make_unique<Function>(function_.module(), function_.name());
    Rewriter rewriter(function_, *fresh);
    // Leaves first: a tail may read one that comes after the reduction.
    for (const bool computed : {false, true}) {
      for (int32_t i = 0; i < size(); ++i) {
        if (is_computed(function_.node(i)) == computed && reduction_of_[i] < 0) build(rewriter, i);
      }
    }
    ValueMap values = rewriter.finish();
    return Rewritten{std::move(fresh), std::move(values)};
  }

 private:
  int32_t size() const { return static_cast<int32_t>(function_.size()); }

  // The node whose region takes this one in: the last that it needs; -1: none.
  int32_t find_reduction(int32_t index) const {
    const Node& node = function_.node(index);
    int32_t last = -1;
    for (ValueId operand : node.operands) {
      if (is_computed(function_.node(operand))) last = std::max(last, operand.node);
    }
    if (last < 0 || reduction_of_[last] >= 0 || early_[last] != early_[index]) return -1;
    for (ValueId operand : node.operands) {
      if (operand.node == last && !is_reduced(function_, operand)) return -1;
    }
    if (can_fail(node) || can_fail(function_.node(last)) || reads_foreign(index)) return -1;
    if (is_update(index) && is_needed(last)) return -1;
    if (!is_generated(last) || !is_generated(index)) return -1;
    RegionBuilder region(function_);
    region.add(last);
    const auto others = tails_.find(last);
    if (others != tails_.end()) {
      for (int32_t other : others->second) region.add(other);
    }
    region.add(index);
    return can_generate(region.body()) ? last : -1;
  }

  // Whether the node reads a variable that another updates: where all updates share a launch, that
  // one could not be written in place.
  bool reads_foreign(int32_t index) const {
    const auto& operands = function_.node(index).operands;
    return std::any_of(
        function_.updates().begin(), function_.updates().end(), [&](const Update& update) {
          if (update.value.node == index) return false;
          return std::any_of(operands.begin(), operands.end(),
                             [&](ValueId operand) { return is_read_of(update.variable, operand); });
        });
  }
  bool is_update(int32_t index) const {
    const auto& updates = function_.updates();
    return std::any_of(updates.begin(), updates.end(),
                       [&](const Update& update) { return update.value.node == index; });
  }
  // Whether the node computes something for others than updates: those wait for all that can fail,
  // and so would it with one of them inside.
  bool is_needed(int32_t index) const {
    for (int32_t user = index + 1; user < size(); ++user) {
      const auto& operands = function_.node(user).operands;
      const bool uses = std::any_of(operands.begin(), operands.end(),
                                    [&](ValueId operand) { return operand.node == index; });
      if (uses && !is_update(user)) return true;
    }
    return false;
  }
  bool is_read_of(const std::string& variable, ValueId value) const {
    const Node& node = function_.node(value);
    return node.op == &kVariable && node.attributes.get<LeafAttributes>().name == variable;
  }

  bool is_generated(int32_t index) const {
    return is_static(function_, function_.node(index)) &&
           can_generate(make_request(function_, index));
  }

  // What is used by others than the tails of its own region.
  void find_outside() {
    for (const auto& result : function_.results()) outside_.insert(result.value);
    for (const Update& update : function_.updates()) outside_.insert(update.value);
    for (int32_t i = 0; i < size(); ++i) {
      for (ValueId operand : function_.node(i).operands) {
        if (reduction_of_[i] != operand.node) outside_.insert(operand);
      }
    }
  }

  void build(Rewriter& rewriter, int32_t index) const {
    const auto tails = tails_.find(index);
    if (tails == tails_.end()) return rewriter.keep(index);
    RegionBuilder region(function_);
    region.add(index);
    for (int32_t tail : tails->second) region.add(tail);
    region.finish(rewriter, [&](ValueId output) { return outside_.contains(output); });
  }

  const Function& function_;
  std::vector<bool> early_;                        // needed by something that can fail
  std::vector<int32_t> reduction_of_;              // by node; -1: it is no tail
  std::map<int32_t, std::vector<int32_t>> tails_;  // by node with the reductions
  std::set<ValueId> outside_;
};

}  // namespace

Pass reduction_tails_pass() {
  return {"reduction_tails", [](const Function& function) { return Tails(function).run(); }};
}

}  // namespace adjoint::cuda
