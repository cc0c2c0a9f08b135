#include "graph/pass.h"

#include <algorithm>
#include <map>
#include <utility>

#include "graph/error.h"
#include "graph/verifier.h"

namespace adjoint {

ValueMap::ValueMap(const Block& from) {
  first_.reserve(from.size());
  uint32_t count = 0;
  for (int32_t i = 0; i < static_cast<int32_t>(from.size()); ++i) {
    first_.push_back(count);
    count += from.node(i).types.size();
  }
  values_.resize(count);
}

ValueMap ValueMap::then(const ValueMap& next) const {
  ValueMap result = *this;
  for (ValueId& value : result.values_) {
    if (value.node >= 0) value = next[value];
  }
  return result;
}

Value Rewriter::operator()(ValueId old) const {
  const ValueId fresh = values_[old];
  if (fresh.node < 0) {
    const Node& node = from_.node(old);
    throw GraphError("a value of " + std::string(node.op->name) + " was dropped but is used" +
                     built_at(node.origin));
  }
  return to_.value(fresh);
}

std::vector<Value> Rewriter::operands(const Node& old) const {
  std::vector<Value> result;
  result.reserve(old.operands.size());
  for (ValueId id : old.operands) result.push_back((*this)(id));
  return result;
}

void Rewriter::replace(ValueId old, Value fresh) {
  if (!fresh || &fresh.block() != &to_ || fresh.type() != from_.type(old)) {
    const Node& node = from_.node(old);
    throw GraphError(std::string(node.op->name) + ": a rewriting replaces " +
                     to_text(from_.type(old)) + " by " +
                     (!fresh                   ? "nothing"
                      : &fresh.block() != &to_ ? "a value of another block"
                                               : to_text(fresh.type())) +
                     built_at(node.origin));
  }
  values_.set(old, fresh.id());
}

void Rewriter::keep(int32_t index) { keep(index, from_.node(index).origin); }

void Rewriter::keep(int32_t index, Origin origin) {
  keep(index, std::move(origin), from_.node(index).blocks);
}

void Rewriter::keep(int32_t index, Origin origin,
                    std::vector<std::shared_ptr<const Block>> blocks) {
  const Node& node = from_.node(index);
  Value fresh;
  if (node.op == &kArgument) {
    fresh = to_.argument_with_origin(leaf_name(node), node.types[0], std::move(origin));
  } else if (node.op->traits.leaf) {
    fresh = to_.leaf(*node.op, leaf_name(node), node.types[0], std::move(origin));
  } else {
    std::vector<ValueId> operands;
    operands.reserve(node.operands.size());
    for (ValueId id : node.operands) operands.push_back((*this)(id).id());
    fresh = to_.add_with_origin(*node.op, std::move(operands), node.attributes, std::move(origin),
                                std::move(blocks));
  }
  for (int output = 0; output < static_cast<int>(node.types.size()); ++output) {
    values_.set({index, output}, {fresh.id().node, output});
  }
}

ValueMap Rewriter::finish() {
  for (const Block::Result& result : from_.results()) {
    to_.result(result.name, (*this)(result.value));
  }
  const auto* from = dynamic_cast<const Function*>(&from_);
  auto* to = dynamic_cast<Function*>(&to_);
  if (from != nullptr && to != nullptr) {
    for (const Update& update : from->updates()) {
      const FixedOrigin scope(*to, from->node(update.value).origin);
      to->update(*to->module().find_variable(update.variable), (*this)(update.value));
    }
  }
  return std::move(values_);
}

namespace {

bool has_candidate(const Function& function, const NodeFilter& candidates) {
  for (int32_t index = 0; index < static_cast<int32_t>(function.size()); ++index) {
    const Node& node = function.node(index);
    if (!node.op->traits.leaf && candidates(function, node)) return true;
  }
  return false;
}

}  // namespace

std::optional<Rewritten> rewrite(const Function& function, const RewriteHook& hook,
                                 const NodeFilter& candidates) {
  if (candidates && !has_candidate(function, candidates)) return std::nullopt;
  auto fresh = std::make_unique<Function>(function.module(), function.name());
  Rewriter rewriter(function, *fresh);
  bool changed = false;
  std::vector<Value> operands;
  for (int32_t index = 0; index < static_cast<int32_t>(function.size()); ++index) {
    const Node& node = function.node(index);
    std::vector<Value> values;
    if (!node.op->traits.leaf) {
      operands.clear();
      for (ValueId id : node.operands) operands.push_back(rewriter(id));
      const FixedOrigin scope(*fresh, node.origin);
      values = hook({node, index, operands, *fresh});
    }
    if (values.empty()) {
      rewriter.keep(index);
      continue;
    }
    changed = true;
    if (values.size() != node.types.size()) {
      throw GraphError(std::string(node.op->name) + ": a rewriting replaces " +
                       std::to_string(node.types.size()) + " values by " +
                       std::to_string(values.size()) + built_at(node.origin));
    }
    for (int output = 0; output < static_cast<int>(values.size()); ++output) {
      rewriter.replace({index, output}, values[output]);
    }
  }
  if (!changed) return std::nullopt;
  ValueMap map = rewriter.finish();
  return Rewritten{std::move(fresh), std::move(map)};
}

namespace {

struct RewrittenBlock {
  std::unique_ptr<Block> block;
  ValueMap values;
};

std::unique_ptr<Block> empty_like(const Block& block) {
  if (const auto* function = dynamic_cast<const Function*>(&block)) {
    return std::make_unique<Function>(function->module(), function->name());
  }
  return std::make_unique<Block>(block.name());
}

std::optional<RewrittenBlock> transform_all(const Block& block, const BlockTransform& transform);

// The block with its nodes' blocks transformed; nothing where none changed.
std::optional<RewrittenBlock> transform_nested(const Block& block,
                                               const BlockTransform& transform) {
  std::map<int32_t, std::vector<std::shared_ptr<const Block>>> changed;
  for (int32_t i = 0; i < static_cast<int32_t>(block.size()); ++i) {
    const Node& node = block.node(i);
    for (size_t b = 0; b < node.blocks.size(); ++b) {
      if (auto result = transform_all(*node.blocks[b], transform)) {
        changed.emplace(i, node.blocks).first->second[b] = std::move(result->block);
      }
    }
  }
  if (changed.empty()) return std::nullopt;
  std::unique_ptr<Block> fresh = empty_like(block);
  Rewriter rewriter(block, *fresh);
  for (int32_t i = 0; i < static_cast<int32_t>(block.size()); ++i) {
    const auto found = changed.find(i);
    if (found == changed.end()) {
      rewriter.keep(i);
    } else {
      rewriter.keep(i, block.node(i).origin, std::move(found->second));
    }
  }
  ValueMap map = rewriter.finish();
  return RewrittenBlock{std::move(fresh), std::move(map)};
}

// Recurses as deep as blocks nest, at most kMaxNesting.
std::optional<RewrittenBlock> transform_all(const Block& block, const BlockTransform& transform) {
  std::optional<RewrittenBlock> inner = transform_nested(block, transform);
  const Block& from = inner ? *inner->block : block;
  std::unique_ptr<Block> fresh = empty_like(block);
  std::optional<ValueMap> map = transform(from, *fresh);
  if (!map) return inner;
  return RewrittenBlock{std::move(fresh), inner ? inner->values.then(*map) : *std::move(map)};
}

}  // namespace

std::optional<Rewritten> rewrite_blocks(const Function& function, const BlockTransform& transform) {
  std::optional<RewrittenBlock> result = transform_all(function, transform);
  if (!result) return std::nullopt;
  auto* fresh = static_cast<Function*>(result->block.release());
  return Rewritten{std::unique_ptr<Function>(fresh), std::move(result->values)};
}

Rewritten copy_function(const Function& function) {
  auto fresh = std::make_unique<Function>(function.module(), function.name());
  Rewriter rewriter(function, *fresh);
  for (int32_t i = 0; i < static_cast<int32_t>(function.size()); ++i) rewriter.keep(i);
  ValueMap map = rewriter.finish();
  return {std::move(fresh), std::move(map)};
}

Pipeline& Pipeline::add(Pass pass) {
  std::vector<Pass> passes;
  passes.push_back(std::move(pass));
  return repeat(std::move(passes), 1);
}

Pipeline& Pipeline::repeat(std::vector<Pass> passes, int max_rounds) {
  std::vector<std::string> known = names();
  for (const Pass& pass : passes) {
    if (std::find(known.begin(), known.end(), pass.name) != known.end()) {
      throw GraphError("two passes are named '" + pass.name + "'");
    }
    known.push_back(pass.name);
  }
  stages_.push_back({std::move(passes), max_rounds});
  return *this;
}

Pipeline& Pipeline::set(std::string_view name, bool on) {
  require_known(name);
  if (on) {
    off_.erase(std::string(name));
  } else {
    off_.emplace(name);
  }
  return *this;
}

bool Pipeline::is_on(std::string_view name) const {
  require_known(name);
  return !off_.contains(name);
}

std::vector<std::string> Pipeline::names() const {
  std::vector<std::string> result;
  for (const Stage& stage : stages_) {
    for (const Pass& pass : stage.passes) result.push_back(pass.name);
  }
  return result;
}

void Pipeline::require_known(std::string_view name) const {
  std::string known;
  for (const std::string& candidate : names()) {
    if (candidate == name) return;
    known += (known.empty() ? "" : ", ") + candidate;
  }
  throw GraphError("there is no pass '" + std::string(name) + "' (there are " +
                   (known.empty() ? "none" : known) + ")");
}

bool Pipeline::run_pass(const Pass& pass, const Function& original, Result& result) const {
  const Function& before = result.function ? *result.function : original;
  PassRun run{pass.name, false, before.line_count(), before.line_count()};
  try {
    if (std::optional<Rewritten> rewritten = pass.run(before)) {
      verify(*rewritten->function);
      run.changed = true;
      run.nodes_after = rewritten->function->line_count();
      result.values =
          result.function ? result.values.then(rewritten->values) : std::move(rewritten->values);
      result.function = std::move(rewritten->function);
    }
  } catch (const GraphError& error) {
    throw GraphError("pass '" + pass.name + "' on '" + original.name() + "': " + error.what());
  }
  result.runs.push_back(run);
  return run.changed;
}

Pipeline::Result Pipeline::run(const Function& function) const {
  Result result;
  for (const Stage& stage : stages_) {
    for (int round = 0; round < stage.max_rounds; ++round) {
      bool changed = false;
      for (const Pass& pass : stage.passes) {
        if (!off_.contains(pass.name)) changed |= run_pass(pass, function, result);
      }
      if (!changed) break;
    }
  }
  if (!result.function) {
    Rewritten copy = copy_function(function);
    result.function = std::move(copy.function);
    result.values = std::move(copy.values);
  }
  return result;
}

}  // namespace adjoint
