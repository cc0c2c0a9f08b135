// Passes and the pipeline that runs them. A pass never changes a function: it builds a new one and
// says where each old value went.
//
//   Pipeline pipeline;
//   pipeline.add(dce_pass()).add(cse_pass()).add({"double_neg", [](const Function& f) {
//     return rewrite(f, [](const RewriteSite& site) -> std::vector<Value> {
//       if (site.node.op != &kNeg) return {};                     // keep the node
//       const Node& inner = site.operands[0].node();              // looks at the new function,
//       if (inner.op != &kNeg) return {};                         // so chains collapse at once
//       return {site.block.value(inner.operands[0])};             // neg(neg(x)) = x
//     });
//   }});
//   Pipeline::Result result = pipeline.run(function);
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "graph/module.h"

namespace adjoint {

// Where the values of an old block went in a new one.
class ValueMap {
 public:
  ValueMap() = default;
  explicit ValueMap(const Block& from);  // all values dropped
  void set(ValueId old, ValueId fresh) { values_[position(old)] = fresh; }
  // {-1, 0} where the value was dropped.
  ValueId operator[](ValueId old) const { return values_[position(old)]; }
  bool has(ValueId old) const { return (*this)[old].node >= 0; }
  // First this map, then `next`.
  ValueMap then(const ValueMap& next) const;

 private:
  size_t position(ValueId id) const { return first_[id.node] + id.output; }

  std::vector<uint32_t> first_;  // of each old node in `values_`
  std::vector<ValueId> values_;
};

struct Rewritten {
  std::unique_ptr<Function> function;
  ValueMap values;
};

// Builds a new block node by node from an old one, in any way that keeps operands before users:
//
//   Rewriter r(old, fresh);
//   for (int32_t i = 0; i < static_cast<int32_t>(old.size()); ++i) r.keep(i);
//   r.finish();
class Rewriter {
 public:
  Rewriter(const Block& from, Block& to) : from_(from), to_(to), values_(from) {}

  const Block& from() const { return from_; }
  Block& to() const { return to_; }

  // The new value of an old one; throws GraphError where that has been dropped.
  Value operator()(ValueId old) const;
  std::vector<Value> operands(const Node& old) const;
  bool has(ValueId old) const { return values_.has(old); }
  // From now on users of `old` use `fresh`, which must have the same type (GraphError).
  void replace(ValueId old, Value fresh);
  // Appends the old node (argument, variable or other leaf included) as it is, on its new operands;
  // the second form with another origin, the third with other nested blocks.
  void keep(int32_t index);
  void keep(int32_t index, Origin origin);
  void keep(int32_t index, Origin origin, std::vector<std::shared_ptr<const Block>> blocks);
  // Results and, of functions, updates; the map.
  ValueMap finish();

 private:
  const Block& from_;
  Block& to_;
  ValueMap values_;
};

// One old node under a rewriting hook.
struct RewriteSite {
  const Node& node;                 // in the old function
  int32_t index;                    // its index there
  std::span<const Value> operands;  // in the new function
  Block& block;                     // the new function
};

// New values for all outputs of the node, of the same types, or nothing to keep the node. What the
// hook builds carries the node's origin. Leaves are not shown to it.
using RewriteHook = std::function<std::vector<Value>(const RewriteSite&)>;

// A cheap test that every node which a hook replaces first of all passes.
using NodeFilter = std::function<bool(const Function&, const Node&)>;

// Every node in order, through the hook; nothing where the hook replaced none. Nodes that are no
// longer used stay for `dce`. Nested blocks are kept as they are. Where no node is a candidate,
// nothing is built to find that out.
std::optional<Rewritten> rewrite(const Function& function, const RewriteHook& hook,
                                 const NodeFilter& candidates = nullptr);

// Builds the new form of one block into an empty block of the same kind, with a Rewriter; nothing
// where it needs no change.
using BlockTransform = std::function<std::optional<ValueMap>(const Block& from, Block& to)>;

// Applies `transform` to the function and to all blocks nested in it, the inner ones first.
std::optional<Rewritten> rewrite_blocks(const Function& function, const BlockTransform& transform);

// An equal function.
Rewritten copy_function(const Function& function);

// Nothing where the function needs no change.
struct Pass {
  std::string name;
  std::function<std::optional<Rewritten>(const Function&)> run;
};

// What one run of one pass did; nodes are those that the dump prints as lines.
struct PassRun {
  std::string pass;
  bool changed = false;
  int64_t nodes_before = 0;
  int64_t nodes_after = 0;
};

// Passes in order, each on or off by name. Verifies the function after each change; an error (of
// the verifier or of the pass) names the pass.
class Pipeline {
 public:
  // Names are unique in a pipeline (GraphError).
  Pipeline& add(Pass pass);
  // Runs these passes in turn until none changes anything, or `max_rounds` times.
  Pipeline& repeat(std::vector<Pass> passes, int max_rounds);
  // Throws GraphError, listing the names, for an unknown one. All passes start on.
  Pipeline& set(std::string_view name, bool on);
  bool is_on(std::string_view name) const;
  std::vector<std::string> names() const;

  struct Result {
    std::unique_ptr<Function> function;  // an equal copy where no pass changed anything
    ValueMap values;                     // from the given function to `function`
    std::vector<PassRun> runs;
  };
  Result run(const Function& function) const;

 private:
  struct Stage {
    std::vector<Pass> passes;
    int max_rounds = 1;
  };
  bool run_pass(const Pass& pass, const Function& original, Result& result) const;
  void require_known(std::string_view name) const;

  std::vector<Stage> stages_;
  std::set<std::string, std::less<>> off_;
};

}  // namespace adjoint
