#include "runtime/fusion.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <queue>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "ops/elementwise.h"
#include "ops/region.h"
#include "runtime/fallible.h"

namespace adjoint {
namespace {

// The parts of a function that fusion sees: which nodes may be members of a region, and over which
// shape.
class Members {
 public:
  Members(const Function& function, const FusionRules& rules) : function_(function), rules_(rules) {
    spaces_.resize(function.size());
    for (int32_t i = 0; i < size(); ++i) {
      const Node& node = function.node(i);
      const auto kind = rules.role(node, operand_types(node));
      roles_.push_back(kind);
      if (kind == RegionRole::elementwise) spaces_[i] = node.types[0].shape;
      if (kind == RegionRole::reduction) spaces_[i] = function.type(node.operands[0]).shape;
      copy_sizes_.push_back(copy_size(i));
    }
    if (rules.copies_operand) absorb_operands();
  }

  int32_t size() const { return static_cast<int32_t>(function_.size()); }
  bool is_member(int32_t node) const {
    return roles_[node] == RegionRole::elementwise || roles_[node] == RegionRole::reduction;
  }
  // Uniform constants, broadcasts and indices: copied into every region that reads them.
  bool is_absorbed(int32_t node) const { return roles_[node] == RegionRole::absorbed; }
  // Scalars that are copied into regions of other shapes, being made of few leaves and constants.
  bool is_scalar(int32_t node) const {
    return copy_sizes_[node] > 0 && spaces_[node].rank() == 0 && !can_fail(function_.node(node));
  }
  // Whether the region of `user` reads a copy.
  bool is_copied(ValueId operand, int32_t user) const {
    return is_absorbed(operand.node) ||
           (is_scalar(operand.node) && is_member(user) && spaces_[user].rank() != 0 &&
            is_read_in_place(operand, user));
  }
  const Shape& space(int32_t node) const { return spaces_[node]; }
  // Whether `user` can read this operand of its own within one region.
  bool may_share_region(ValueId operand, int32_t user) const {
    return is_member(user) && roles_[operand.node] == RegionRole::elementwise &&
           spaces_[operand.node] == spaces_[user] && is_read_in_place(operand, user);
  }

 private:
  // The nodes that a copy of this one takes; 0: it is not copied.
  int copy_size(int32_t index) const {
    constexpr int kMost = 8;
    const Node& node = function_.node(index);
    if (!rules_.copies || roles_[index] != RegionRole::elementwise || !rules_.copies(node)) {
      return 0;
    }
    int count = 1;
    for (ValueId operand : node.operands) {
      const Node& from = function_.node(operand);
      if (from.op->traits.leaf || is_absorbed(operand.node)) continue;
      if (copy_sizes_[operand.node] == 0 || can_fail(from)) return 0;
      count += copy_sizes_[operand.node];
    }
    return count <= kMost ? count : 0;
  }
  // The operands that regions compute themselves, and what only those are computed from.
  void absorb_operands() {
    std::vector<bool> copied(function_.size()), kept(function_.size());
    for (const auto& result : function_.results()) kept[result.value.node] = true;
    for (const Update& update : function_.updates()) kept[update.value.node] = true;
    for (int32_t i = size() - 1; i >= 0; --i) {
      const Node& node = function_.node(i);
      const bool absorbs = copied[i] && !kept[i] && copy_sizes_[i] > 0;
      if (absorbs) roles_[i] = RegionRole::absorbed;
      for (size_t k = 0; k < node.operands.size(); ++k) {
        const bool inside = absorbs || (is_member(i) && spaces_[i].rank() != 0 &&
                                        rules_.copies_operand(function_, node, k));
        (inside ? copied : kept)[node.operands[k].node] = true;
      }
    }
  }
  // Whether the user reads the operand's element at its own place, wherever it reads it.
  bool is_read_in_place(ValueId operand, int32_t user) const {
    if (!rules_.reads_in_place) return true;
    const Node& node = function_.node(user);
    for (size_t i = 0; i < node.operands.size(); ++i) {
      if (node.operands[i] == operand && !rules_.reads_in_place(node, i)) return false;
    }
    return true;
  }
  std::vector<Type> operand_types(const Node& node) const {
    std::vector<Type> types;
    for (ValueId operand : node.operands) types.push_back(function_.type(operand));
    return types;
  }

  const Function& function_;
  const FusionRules& rules_;
  std::vector<RegionRole> roles_;
  std::vector<Shape> spaces_;
  std::vector<int> copy_sizes_;
};

// Levels: a node's level is at least its operands', and higher where the two cannot be in one
// region. Nodes of equal level in one region thus have no path through nodes outside of it.
class Levels {
 public:
  Levels(const Function& function, const Members& members)
      : function_(function), members_(members), levels_(function.size()) {
    for (int32_t i = 0; i < members.size(); ++i) {
      for (ValueId operand : function.node(i).operands) {
        levels_[i] = std::max(levels_[i], levels_[operand.node] + step(operand, i));
      }
    }
    sink();
  }
  int32_t operator[](int32_t node) const { return levels_[node]; }

 private:
  // How much higher a user must be than its operand. Copied nodes are counted with their users.
  int32_t step(ValueId operand, int32_t user) const {
    const Node& node = function_.node(operand);
    if (node.op->traits.leaf || node.op == &kConstant || members_.is_copied(operand, user))
      return 0;
    return members_.may_share_region(operand, user) ? 0 : 1;
  }

  // Raises members to the level of their lowest user, where that may share a region with them.
  void sink() {
    constexpr int32_t kFree = INT32_MAX;
    std::vector<int32_t> limit(function_.size(), kFree);  // the highest level that users allow
    std::vector<bool> meets(function_.size());            // the user that sets it shares a region
    for (const auto& result : function_.results()) limit[result.value.node] = -1;
    for (const Update& update : function_.updates()) limit[update.value.node] = -1;
    for (int32_t i = members_.size() - 1; i >= 0; --i) {
      if (members_.is_member(i) && limit[i] != kFree && meets[i]) {
        levels_[i] = std::max(levels_[i], limit[i]);
      }
      for (ValueId operand : function_.node(i).operands) {
        const int32_t allowed = levels_[i] - step(operand, i);
        int32_t& current = limit[operand.node];
        if (allowed < current) {
          current = allowed;
          meets[operand.node] = members_.may_share_region(operand, i);
        } else if (allowed == current && members_.may_share_region(operand, i)) {
          meets[operand.node] = true;
        }
      }
    }
  }

  const Function& function_;
  const Members& members_;
  std::vector<int32_t> levels_;
};

// Which nodes something that can fail needs, and which updates do not wait for that: nodes that end
// up in an update within their own region, and are not needed by what can fail.
class Phases {
 public:
  Phases(const Function& function, const Members& members, const Levels& levels)
      : early_(needed_by_fallible(function)), updates_(function.size()) {
    for (const Update& update : function.updates()) updates_[update.value.node] = true;
    for (int32_t i = members.size() - 1; i >= 0; --i) {
      if (early_[i]) updates_[i] = false;
      if (!updates_[i]) continue;
      for (ValueId operand : function.node(i).operands) {
        const bool shares =
            members.may_share_region(operand, i) && levels[operand.node] == levels[i];
        if (shares) updates_[operand.node] = true;
      }
    }
  }
  bool is_early(int32_t node) const { return early_[node]; }
  bool is_update(int32_t node) const { return updates_[node]; }

 private:
  std::vector<bool> early_;
  std::vector<bool> updates_;
};

// Disjoint sets of nodes.
class Groups {
 public:
  explicit Groups(int32_t size) : parent_(size) { std::iota(parent_.begin(), parent_.end(), 0); }
  int32_t find(int32_t node) {
    while (parent_[node] != node) node = parent_[node] = parent_[parent_[node]];
    return node;
  }
  // The smaller index stands for the set.
  void join(int32_t a, int32_t b) {
    a = find(a);
    b = find(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<int32_t> parent_;
};

// The regions of a function: lists of nodes, in order. A node that is in none is on its own.
class Clusters {
 public:
  Clusters(const Function& function, const Members& members, const FusionRules& rules)
      : max_nodes_(rules.max_nodes), cluster_of_(function.size(), -1) {
    Groups groups(members.size());
    join(function, members, rules, groups);
    for (int32_t i = 0; i < members.size(); ++i) {
      if (members.is_member(i)) add(i, groups.find(i));
    }
    for (auto& cluster : nodes_) {
      if (!worth_a_region(function, members, cluster)) {
        for (int32_t node : cluster) cluster_of_[node] = -1;
        cluster.clear();
      }
    }
  }

  size_t count() const { return nodes_.size(); }
  const std::vector<int32_t>& nodes(int32_t cluster) const { return nodes_[cluster]; }
  int32_t of(int32_t node) const { return cluster_of_[node]; }

 private:
  static void join(const Function& function, const Members& members, const FusionRules& rules,
                   Groups& groups) {
    const Levels levels(function, members);
    const Phases phases(function, members, levels);
    // The last member of each level and shape that reads a tensor; where what can fail needs one,
    // updates count by themselves.
    std::map<std::tuple<ValueId, int32_t, bool>, int32_t> readers;
    std::set<std::pair<ValueId, int32_t>> read_early;
    auto each_shared_read = [&](auto&& visit) {
      for (int32_t i = 0; i < members.size(); ++i) {
        if (!members.is_member(i)) continue;
        for (ValueId operand : function.node(i).operands) {
          if (!members.is_absorbed(operand.node)) visit(operand, i);
        }
      }
    };
    each_shared_read([&](ValueId operand, int32_t i) {
      if (phases.is_early(i)) read_early.insert({operand, levels[i]});
    });
    each_shared_read([&](ValueId operand, int32_t i) {
      const bool same_level = levels[operand.node] == levels[i];
      if (members.may_share_region(operand, i) && same_level) groups.join(operand.node, i);
      if (function.type(operand).shape != members.space(i)) return;
      const bool apart = rules.separates_updates && phases.is_update(i) &&
                         read_early.contains({operand, levels[i]});
      auto [reader, added] = readers.try_emplace({operand, levels[i], apart}, i);
      if (!added) groups.join(reader->second, i);
    });
  }

  // A large group is cut in the order of its nodes, which leaves no cycle between the pieces.
  void add(int32_t node, int32_t group) {
    auto [open, added] = open_.try_emplace(group, static_cast<int32_t>(nodes_.size()));
    if (!added && nodes_[open->second].size() == max_nodes_) {
      open->second = static_cast<int32_t>(nodes_.size());
      added = true;
    }
    if (added) nodes_.emplace_back();
    nodes_[open->second].push_back(node);
    cluster_of_[node] = open->second;
  }

  static bool worth_a_region(const Function& function, const Members& members,
                             const std::vector<int32_t>& cluster) {
    if (cluster.size() > 1) return true;
    const auto& operands = function.node(cluster[0]).operands;
    return std::any_of(operands.begin(), operands.end(),
                       [&](ValueId operand) { return members.is_copied(operand, cluster[0]); });
  }

  size_t max_nodes_;  // of a region
  std::vector<std::vector<int32_t>> nodes_;
  std::vector<int32_t> cluster_of_;
  std::map<int32_t, int32_t> open_;  // by group: the piece that is being filled
};

// Builds the new function: the nodes that stay and the regions, as near to the old order as the
// operands allow.
class Fusion {
 public:
  Fusion(const Function& function, const FusionRules& rules)
      : function_(function), members_(function, rules), clusters_(function, members_, rules) {}

  std::optional<Rewritten> run() {
    bool any = false;
    for (size_t c = 0; c < clusters_.count(); ++c) any |= !clusters_.nodes(c).empty();
    if (!any) return std::nullopt;
    find_needed();
    auto fresh = std::make_unique<Function>(function_.module(), function_.name());
    Rewriter rewriter(function_, *fresh);
    for (int32_t unit : ordered_units()) {
      if (clusters_.of(unit) < 0) {
        rewriter.keep(unit);
      } else {
        build_region(rewriter, clusters_.nodes(clusters_.of(unit)));
      }
    }
    ValueMap values = rewriter.finish();
    return Rewritten{std::move(fresh), std::move(values)};
  }

 private:
  // A unit, a single node or a region, is named by its last node.
  int32_t unit_of(int32_t node) const {
    const int32_t cluster = clusters_.of(node);
    return cluster < 0 ? node : clusters_.nodes(cluster).back();
  }

  // Which values are read outside of their region, or in it by what is needed. What only regions
  // read, as copies, is not built.
  void find_needed() {
    outside_.resize(function_.size());
    inside_.resize(function_.size());
    for (const auto& result : function_.results()) outside_[result.value.node] = true;
    for (const Update& update : function_.updates()) outside_[update.value.node] = true;
    for (int32_t i = members_.size() - 1; i >= 0; --i) {
      const int32_t to = clusters_.of(i);
      if (to >= 0 && !is_needed(i)) continue;
      for (ValueId operand : function_.node(i).operands) {
        const int32_t from = operand.node;
        const bool same_region = to >= 0 && clusters_.of(from) == to;
        const bool copied =
            to >= 0 ? members_.is_copied(operand, i)
                    : !is_built(i) && (members_.is_absorbed(from) || members_.is_scalar(from));
        if (same_region) {
          inside_[from] = true;
        } else if (!copied) {
          outside_[from] = true;
        }
      }
    }
  }
  bool is_needed(int32_t node) const { return outside_[node] || inside_[node]; }
  // Those in a region are, if something needs it.
  bool is_built(int32_t node) const {
    const bool is_copy = members_.is_absorbed(node) || members_.is_scalar(node);
    return !is_copy || clusters_.of(node) >= 0 || outside_[node];
  }

  // What a unit reads: a region reads through what is copied into it.
  template <typename F>
  void each_operand(int32_t node, F&& f) const {
    for (ValueId operand : function_.node(node).operands) {
      if (clusters_.of(node) < 0) {
        f(operand);
      } else {
        read_through(operand, node, f, [](int32_t) {});
      }
    }
  }

  // Calls read(value) for each value that a region's node reads by way of this operand, and
  // copy(node) for the nodes that are copied, behind their operands.
  template <typename Read, typename Copy>
  void read_through(ValueId operand, int32_t user, const Read& read, const Copy& copy) const {
    if (!members_.is_copied(operand, user)) return read(operand);
    for (ValueId inner : function_.node(operand).operands) read_through(inner, user, read, copy);
    copy(operand.node);
  }

  // Units such that operands come first, otherwise by their last node.
  std::vector<int32_t> ordered_units() const {
    const int32_t size = members_.size();
    std::vector<int32_t> missing(size), order;
    std::vector<std::vector<int32_t>> users(size);
    std::priority_queue<int32_t, std::vector<int32_t>, std::greater<>> ready;
    for (int32_t i = 0; i < size; ++i) {
      if (!is_built(i)) continue;
      each_operand(i, [&](ValueId operand) {
        const int32_t from = unit_of(operand.node), to = unit_of(i);
        if (from == to) return;
        users[from].push_back(to);
        ++missing[to];
      });
    }
    for (int32_t i = 0; i < size; ++i) {
      if (is_built(i) && unit_of(i) == i && missing[i] == 0) ready.push(i);
    }
    while (!ready.empty()) {
      const int32_t unit = ready.top();
      ready.pop();
      order.push_back(unit);
      for (int32_t user : users[unit]) {
        if (--missing[user] == 0) ready.push(user);
      }
    }
    return order;
  }

  void build_region(Rewriter& rewriter, const std::vector<int32_t>& nodes) {
    RegionBody body(function_);
    std::vector<Origin> origins;
    std::vector<ValueId> results;
    for (int32_t node : nodes) {
      if (!is_needed(node)) continue;
      origins.push_back(function_.node(node).origin);
      for (ValueId operand : function_.node(node).operands) {
        read_through(
            operand, node, [&](ValueId value) { body.bring_in(value); },
            [&](int32_t copied) { body.copy(copied); });
      }
      body.copy(node);
      if (outside_[node]) results.push_back({node, 0});
    }
    if (results.empty()) return;  // dead code
    std::vector<ValueId> operands;
    for (ValueId operand : body.operands()) operands.push_back(rewriter(operand).id());
    const Value region = rewriter.to().add_with_origin(
        kRegion, std::move(operands), {}, join_origins(origins), {body.finish(results)});
    for (size_t i = 0; i < results.size(); ++i) {
      rewriter.replace(results[i], region.output(static_cast<int>(i)));
    }
  }

  // The block of a region under construction.
  class RegionBody {
   public:
    explicit RegionBody(const Function& function)
        : function_(function), block_(std::make_shared<Block>("region")) {}

    // Makes a value of the function an argument, unless the body has it already.
    void bring_in(ValueId value) {
      if (inner_.contains(value)) return;
      const Value argument = block_->argument_with_origin(
          numbered("a", operands_.size()), function_.type(value), function_.node(value).origin);
      inner_[value] = argument.id();
      operands_.push_back(value);
    }
    // Copies a node, unless the body has it already.
    void copy(int32_t index) {
      if (inner_.contains({index, 0})) return;
      const Node& node = function_.node(index);
      std::vector<ValueId> operands;
      for (ValueId operand : node.operands) operands.push_back(inner_.at(operand));
      inner_[{index, 0}] =
          block_->add_with_origin(*node.op, std::move(operands), node.attributes, node.origin).id();
    }
    // In the order of the arguments.
    const std::vector<ValueId>& operands() const { return operands_; }
    std::shared_ptr<const Block> finish(const std::vector<ValueId>& results) {
      for (size_t i = 0; i < results.size(); ++i) {
        block_->result(numbered("r", i), block_->value(inner_.at(results[i])));
      }
      return block_;
    }

   private:
    static std::string numbered(std::string name, size_t number) {
      return name += std::to_string(number);
    }
    const Function& function_;
    std::shared_ptr<Block> block_;
    std::map<ValueId, ValueId> inner_;
    std::vector<ValueId> operands_;
  };

  const Function& function_;
  Members members_;
  Clusters clusters_;
  std::vector<bool> outside_, inside_;
};

}  // namespace

Pass fusion_pass(FusionRules rules) {
  return {"fusion", [rules = std::move(rules)](const Function& function) {
            return Fusion(function, rules).run();
          }};
}

}  // namespace adjoint
