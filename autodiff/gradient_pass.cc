#include "autodiff/gradient_pass.h"

#include <algorithm>

#include "graph/error.h"
#include "ops/builder.h"
#include "ops/elementwise.h"
#include "ops/shape.h"

namespace adjoint {
namespace {

int64_t key(ValueId id) { return (static_cast<int64_t>(id.node) << 32) | id.output; }

std::string quoted(std::string_view name) { return "'" + std::string(name) + "'"; }

}  // namespace

GradientScope GradientPass::scope(const Node& node, std::string rule, int64_t operand,
                                  std::string note) const {
  const Node& from = composite_ ? *composite_ : node;
  if (composite_) operand = -1;
  if (composite_ && note.empty()) note = "decomposed";
  return GradientScope(block_, from.origin,
                       {.forward = from.number,
                        .op = std::string(from.op->name),
                        .rule = std::move(rule),
                        .operand = operand,
                        .note = std::move(note)});
}

int32_t GradientPass::slot(ValueId id) const {
  if (id.node >= end_) return kNoSlot;
  if (id.node >= begin_) return first_slots_[id.node - begin_] + id.output;
  auto found = outside_slots_.find(key(id));
  return found == outside_slots_.end() ? kNoSlot : found->second;
}

bool GradientPass::carries(ValueId id) const {
  const int32_t index = slot(id);
  return index != kNoSlot && carries_[index];
}

bool GradientPass::flows(const Node& node, size_t operand) const {
  if (!carries(node.operands[operand])) return false;
  const auto* rules = rules_.find(*node.op);
  return rules == nullptr || (*rules)[std::min(operand, rules->size() - 1)].rule != nullptr;
}

void GradientPass::mark(std::span<const Value> outputs, std::span<const Value> wrt) {
  assign_slots(outputs, wrt);
  for (const Value& w : wrt) {
    if (is_float(w.dtype())) carries_[slot(w.id())] = true;
  }
  mark_forward();
  mark_backward(outputs);
}

void GradientPass::assign_slots(std::span<const Value> outputs, std::span<const Value> wrt) {
  end_ = begin_;
  for (const Value& v : outputs) end_ = std::max(end_, v.id().node + 1);
  for (const Value& v : wrt) end_ = std::max(end_, v.id().node + 1);
  int32_t count = 0;
  for (int32_t n = begin_; n < end_; ++n) {
    first_slots_.push_back(count);
    count += static_cast<int32_t>(block_.node(n).types.size());
  }
  for (const Value& w : wrt) {
    if (w.id().node < begin_ && outside_slots_.emplace(key(w.id()), count).second) ++count;
  }
  carries_.resize(count);
  cotangents_.resize(count);
  live_.resize(end_ - begin_);
}

void GradientPass::mark_forward() {
  for (int32_t n = begin_; n < end_; ++n) {
    const Node& node = block_.node(n);
    for (size_t i = 0; i < node.operands.size() && !live_[n - begin_]; ++i) {
      live_[n - begin_] = flows(node, i);
    }
    if (!live_[n - begin_]) continue;
    for (size_t o = 0; o < node.types.size(); ++o) {
      if (is_float(node.types[o].dtype)) carries_[first_slots_[n - begin_] + o] = true;
    }
  }
}

void GradientPass::mark_backward(std::span<const Value> outputs) {
  std::vector<char> reached(end_ - begin_);
  auto reach = [&](ValueId id) {
    if (id.node >= begin_ && carries(id)) reached[id.node - begin_] = true;
  };
  for (const Value& output : outputs) reach(output.id());
  for (int32_t n = end_ - 1; n >= begin_; --n) {
    char& live = live_[n - begin_];
    live = live && reached[n - begin_];
    if (!live) continue;
    const Node& node = block_.node(n);
    note_missing(node);
    for (size_t i = 0; i < node.operands.size(); ++i) {
      if (flows(node, i)) reach(node.operands[i]);
    }
  }
}

void GradientPass::note_missing(const Node& node) {
  if (rules_.find(*node.op)) return;
  if (node.op->decompose) return note_missing_inside(node);
  const Node& from = composite_ ? *composite_ : node;
  const std::string part = composite_ ? ", part of " + quoted(composite_->op->name) : "";
  missing_.emplace(node.op->name, quoted(node.op->name) + " (%" + std::to_string(from.number) +
                                      part + ", built at " + to_text(line_of(from.origin)) + ")");
}

// Decomposes the node in a block aside, so that nothing is built before all is known to be there.
void GradientPass::note_missing_inside(const Node& composite) {
  if (!checked_composites_.insert(composite.op).second) return;
  Block aside("decomposition of " + std::string(composite.op->name));
  std::vector<Value> operands;
  for (size_t i = 0; i < composite.operands.size(); ++i) {
    operands.push_back(aside.argument("x" + std::to_string(i), block_.type(composite.operands[i])));
  }
  const std::vector<Value> outputs = composite.op->decompose(operands, composite.attributes);
  GradientPass inner(aside, rules_, 0, composite_ ? composite_ : &composite);
  inner.mark(outputs, operands);
  missing_.merge(inner.missing_);
}

void GradientPass::run(std::span<const Value> outputs, std::span<const Value> seeds) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (seeds[i] && carries(outputs[i].id())) accumulate(outputs[i].id(), seeds[i]);
  }
  for (int32_t n = end_ - 1; n >= begin_; --n) {
    if (live_[n - begin_]) differentiate(n);
  }
}

void GradientPass::differentiate(int32_t index) {
  const Node& node = block_.node(index);
  const int32_t first = first_slots_[index - begin_];
  const bool reached =
      std::any_of(cotangents_.begin() + first, cotangents_.begin() + first + node.types.size(),
                  [](const Value& cotangent) { return bool(cotangent); });
  if (!reached) return;
  if (const auto* rules = rules_.find(*node.op)) {
    apply_rules(index, *rules);
  } else {
    decompose(index);
  }
}

void GradientPass::apply_rules(int32_t index, const std::vector<OperandRule>& rules) {
  const Node& node = block_.node(index);
  const auto first = cotangents_.begin() + first_slots_[index - begin_];
  RuleContext context(Value(block_, {index, 0}), {first, first + node.types.size()});
  for (size_t i = 0; i < node.operands.size(); ++i) {
    if (!flows(node, i)) continue;
    context.index_ = i;
    Value result;
    {
      const GradientScope inside = scope(node, std::string(node.op->name), i);
      result = rules[std::min(i, rules.size() - 1)].rule(context);
    }
    accumulate(node.operands[i], fitted(node, i, result));
  }
}

void GradientPass::decompose(int32_t index) {
  const Node& node = block_.node(index);
  std::vector<Value> operands;
  std::vector<Value> wrt;  // each once
  for (size_t i = 0; i < node.operands.size(); ++i) {
    operands.emplace_back(block_, node.operands[i]);
    const bool known = std::find(wrt.begin(), wrt.end(), operands[i]) != wrt.end();
    if (!known && carries(node.operands[i])) wrt.push_back(operands[i]);
  }
  const auto begin = static_cast<int32_t>(block_.size());
  std::vector<Value> outputs;
  {
    const GradientScope inside = scope(node, "decompose");
    outputs = node.op->decompose(operands, node.attributes);
  }
  bool same = outputs.size() == node.types.size();
  for (size_t o = 0; same && o < outputs.size(); ++o) same = outputs[o].type() == node.types[o];
  if (!same) {
    throw GraphError("gradients: the decomposition of " + quoted(node.op->name) +
                     " has other types than the op");
  }
  const auto first = cotangents_.begin() + first_slots_[index - begin_];
  const std::vector<Value> seeds(first, first + outputs.size());
  GradientPass inner(block_, rules_, begin, composite_ ? composite_ : &node);
  inner.mark(outputs, wrt);
  inner.run(outputs, seeds);
  for (const Value& w : wrt) {
    if (const Value cotangent = inner.cotangent(w.id())) accumulate(w.id(), cotangent);
  }
}

// The rule's result brought to the operand's shape.
Value GradientPass::fitted(const Node& node, size_t operand, Value result) const {
  const Type& wanted = block_.type(node.operands[operand]);
  if (result && &result.block() == &block_ && result.dtype() == wanted.dtype) {
    if (result.shape() == wanted.shape) return result;
    if (broadcasts_to(wanted.shape, result.shape())) {
      const GradientScope inside = scope(node, std::string(node.op->name), operand, "broadcast");
      return sum_to(result, wanted.shape);
    }
  }
  throw GraphError("gradients: the rule of " + quoted(node.op->name) + " for operand " +
                   std::to_string(operand) + ", which is " + to_text(wanted) + ", gave " +
                   (result ? to_text(result.type()) : "nothing") + "\n  built at " +
                   to_text(line_of(node.origin)));
}

void GradientPass::accumulate(ValueId id, Value cotangent) {
  Value& total = cotangents_[slot(id)];
  if (!total) {
    total = cotangent;
    return;
  }
  const GradientScope inside = scope(block_.node(id), "accumulate");
  total = add(total, cotangent);
}

}  // namespace adjoint
