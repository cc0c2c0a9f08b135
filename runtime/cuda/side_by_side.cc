#include "runtime/cuda/side_by_side.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/cuda/codegen/generate.h"
#include "runtime/cuda/region_builder.h"
#include "runtime/fallible.h"
#include "runtime/plan.h"

namespace adjoint::cuda {
namespace {

// Moves more than this: better run it early, while its operands are in the cache.
constexpr double kLargeBytes = 8 << 20;

class Merger {
 public:
  explicit Merger(const Function& function) : function_(function) {
    find_writes();
    find_heights();
    raise_fallible();
    raise_sources();
    find_groups();
  }

  std::optional<Rewritten> run() {
    if (groups_.empty()) return std::nullopt;
    auto fresh = std::make_unique<Function>(function_.module(), function_.name());
    Rewriter rewriter(function_, *fresh);
    for (int32_t index : order()) {
      const int group = group_of_[index];
      if (group < 0) {
        rewriter.keep(index);
      } else if (groups_[group].front() == index) {
        merge(rewriter, groups_[group]);
      }
    }
    ValueMap values = rewriter.finish();
    return Rewritten{std::move(fresh), std::move(values)};
  }

 private:
  int32_t size() const { return static_cast<int32_t>(function_.size()); }

  // What writes the state, and all that needs it; but for what something that can fail needs, which
  // cannot write the state straight anyway.
  void find_writes() {
    const std::vector<bool> early = needed_by_fallible(function_);
    writes_.assign(function_.size(), false);
    for (const Update& update : function_.updates()) writes_[update.value.node] = true;
    for (int32_t i = 0; i < size(); ++i) {
      const auto& operands = function_.node(i).operands;
      const bool needs = std::any_of(operands.begin(), operands.end(),
                                     [&](ValueId operand) { return writes_[operand.node]; });
      writes_[i] = is_computed(function_.node(i)) && !early[i] && (writes_[i] || needs);
    }
  }

  // A node's height: that of its highest user and 1 more, or what it has already.
  void find_heights() {
    heights_.resize(function_.size(), 0);
    for (int32_t i = size() - 1; i >= 0; --i) {
      const int32_t below = heights_[i] + (is_computed(function_.node(i)) ? 1 : 0);
      for (ValueId operand : function_.node(i).operands) {
        heights_[operand.node] = std::max(heights_[operand.node], below);
      }
    }
  }

  // Above all that writes the state: where what can fail shares a launch, no write does.
  void raise_fallible() {
    int32_t floor = 0;
    for (int32_t i = 0; i < size(); ++i) {
      if (writes_[i]) floor = std::max(floor, heights_[i] + 1);
    }
    for (int32_t i = 0; i < size(); ++i) {
      if (can_fail(function_.node(i))) heights_[i] = std::max(heights_[i], floor);
    }
    find_heights();
  }

  // Nodes that need no other can run as early as the earliest of them. Results and updates stay.
  void raise_sources() {
    std::vector<int32_t> sources;
    int32_t highest = 0;
    for (int32_t i = 0; i < size(); ++i) {
      const auto& operands = function_.node(i).operands;
      const bool needs = std::any_of(operands.begin(), operands.end(), [&](ValueId operand) {
        return is_computed(function_.node(operand));
      });
      if (needs || heights_[i] == 0 || writes_[i] || !is_mergeable(i)) continue;
      sources.push_back(i);
      highest = std::max(highest, heights_[i]);
    }
    for (int32_t i : sources) heights_[i] = highest;
  }

  void find_groups() {
    group_of_.assign(function_.size(), -1);
    std::map<int32_t, std::vector<int32_t>> by_height;
    for (int32_t i = 0; i < size(); ++i) {
      if (is_mergeable(i)) by_height[heights_[i]].push_back(i);
    }
    for (auto& [height, nodes] : by_height) {
      size_t results = 0;
      const Node* check = nullptr;  // of what can fail, if something can
      std::vector<int32_t> group;
      auto finish = [&] {
        if (group.size() > 1) {
          for (int32_t node : group) group_of_[node] = static_cast<int>(groups_.size());
          groups_.push_back(group);
        }
        group.clear();
        results = 0;
        check = nullptr;
      };
      for (int32_t node : nodes) {
        const size_t more = function_.node(node).types.size();
        // One op that can fail in a launch, if in copies: its report says which op did.
        const Node* own = find_check(function_.node(node));
        const bool clashes = own != nullptr && check != nullptr && !are_copies(*own, *check);
        if (results + more > static_cast<size_t>(kTickets) || clashes) finish();
        group.push_back(node);
        results += more;
        if (own != nullptr) check = own;
      }
      finish();
    }
  }

  // Whether a report would say the same of both: one line, computed in several regions.
  static bool are_copies(const Node& a, const Node& b) {
    return a.op == b.op && a.origin == b.origin && line_of(a.origin).line > 0;
  }

  bool is_mergeable(int32_t index) const {
    if (!is_computed(function_.node(index)) || !is_static(function_, function_.node(index))) {
      return false;
    }
    const KernelRequest request = make_request(function_, index);
    if (!can_generate(request)) return false;
    return heights_[index] == 0 || generate(request).facts.bytes <= kLargeBytes;
  }

  // Leaves and constants, then the rest from the highest down: operands before users, and a group's
  // nodes next to each other.
  std::vector<int32_t> order() const {
    std::vector<int32_t> order(function_.size());
    for (int32_t i = 0; i < size(); ++i) order[i] = i;
    auto key = [&](int32_t i) { return std::pair(is_computed(function_.node(i)), -heights_[i]); };
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return key(a) < key(b); });
    return order;
  }

  void merge(Rewriter& rewriter, const std::vector<int32_t>& nodes) const {
    RegionBuilder region(function_);
    for (int32_t index : nodes) region.add(index);
    region.finish(rewriter, [](ValueId) { return true; });
  }

  const Function& function_;
  std::vector<bool> writes_;
  std::vector<int32_t> heights_;
  std::vector<std::vector<int32_t>> groups_;
  std::vector<int> group_of_;  // -1: stays alone
};

}  // namespace

Pass side_by_side_pass() {
  return {"side_by_side", [](const Function& function) { return Merger(function).run(); }};
}

}  // namespace adjoint::cuda
