#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "graph/passes.h"
#include "graph/printer.h"

namespace adjoint {
namespace {

// Value numbering: for each node of a block, the first node that computes the same.
class Numbering {
 public:
  explicit Numbering(const Block& block) : block_(block), table_(0, Hash{*this}, Equal{*this}) {
    const auto size = static_cast<int32_t>(block.size());
    first_.reserve(size);
    hashes_.reserve(size);
    for (int32_t i = 0; i < size; ++i) {
      first_.push_back(i);
      hashes_.push_back(hash(i));
      if (block.node(i).op->traits.leaf) continue;  // leaves are one by name
      first_[i] = *table_.insert(i).first;
      merged_ |= first_[i] != i;
    }
  }

  bool merged() const { return merged_; }
  int32_t first(int32_t node) const { return first_[node]; }

 private:
  struct Hash {
    const Numbering& numbering;
    size_t operator()(int32_t node) const { return numbering.hashes_[node]; }
  };
  struct Equal {
    const Numbering& numbering;
    bool operator()(int32_t a, int32_t b) const { return numbering.equal(a, b); }
  };

  // The value that stands for all equal ones.
  ValueId first_value(ValueId id) const { return {first_[id.node], id.output}; }

  // In any order where the op is commutative.
  bool same_operands(const Node& a, const Node& b) const {
    auto same = [this](ValueId x, ValueId y) { return first_value(x) == first_value(y); };
    if (std::ranges::equal(a.operands, b.operands, same)) return true;
    return a.op->traits.commutative && std::ranges::is_permutation(a.operands, b.operands, same);
  }

  size_t hash(int32_t index) const {
    const Node& node = block_.node(index);
    size_t seed = std::hash<const void*>()(node.op) * 31 + node.attributes.hash();
    for (ValueId operand : node.operands) {
      const ValueId id = first_value(operand);
      const size_t value = id.node * 17u + id.output + 1;
      // A sum does not depend on the order.
      seed = node.op->traits.commutative ? seed + value * value : seed * 1000003u + value;
    }
    for (const auto& nested : node.blocks) {
      seed = seed * 31 + std::hash<std::string>()(to_text(*nested, TextMode::structural));
    }
    return seed;
  }

  bool equal(int32_t a, int32_t b) const {
    const Node& left = block_.node(a);
    const Node& right = block_.node(b);
    return left.op == right.op && left.attributes == right.attributes &&
           same_operands(left, right) &&
           std::equal(left.blocks.begin(), left.blocks.end(), right.blocks.begin(),
                      right.blocks.end(), [](const auto& x, const auto& y) {
                        return x == y || to_text(*x, TextMode::structural) ==
                                             to_text(*y, TextMode::structural);
                      });
  }

  const Block& block_;
  bool merged_ = false;
  std::vector<int32_t> first_;
  std::vector<size_t> hashes_;
  std::unordered_set<int32_t, Hash, Equal> table_;
};

std::optional<ValueMap> merge_equal(const Block& from, Block& to) {
  const Numbering numbering(from);
  if (!numbering.merged()) return std::nullopt;
  const auto size = static_cast<int32_t>(from.size());
  std::unordered_map<int32_t, std::vector<Origin>> origins;  // of nodes that others merge into
  for (int32_t i = 0; i < size; ++i) {
    const int32_t first = numbering.first(i);
    if (first == i) continue;
    std::vector<Origin>& all = origins[first];
    if (all.empty()) all.push_back(from.node(first).origin);
    all.push_back(from.node(i).origin);
  }
  Rewriter rewriter(from, to);
  for (int32_t i = 0; i < size; ++i) {
    const int32_t first = numbering.first(i);
    if (first == i) {
      const auto found = origins.find(i);
      rewriter.keep(i, found == origins.end() ? from.node(i).origin : join_origins(found->second));
      continue;
    }
    for (int output = 0; output < static_cast<int>(from.node(i).types.size()); ++output) {
      rewriter.replace({i, output}, rewriter({first, output}));
    }
  }
  return rewriter.finish();
}

}  // namespace

Pass cse_pass() {
  return {"cse", [](const Function& function) { return rewrite_blocks(function, merge_equal); }};
}

}  // namespace adjoint
