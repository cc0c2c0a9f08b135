#include "autodiff/rules.h"

#include <string>

#include "graph/error.h"
#include "ops/shape.h"

namespace adjoint {

Value RuleContext::cotangent(int index) const {
  Value& cotangent = cotangents_[index];
  if (!cotangent) cotangent = zeros_like(output(index));
  return cotangent;
}

Value RuleContext::once(Value (*build)(const RuleContext&)) const {
  if (!shared_) shared_ = build(*this);
  return shared_;
}

void RuleSet::add(const OpDef& op, std::vector<OperandRule> rules) {
  if (rules.empty()) throw GraphError("no gradient rules given for '" + std::string(op.name) + "'");
  rules_[op.name] = std::move(rules);
}

const std::vector<OperandRule>* RuleSet::find(const OpDef& op) const {
  auto found = rules_.find(op.name);
  return found == rules_.end() ? nullptr : &found->second;
}

}  // namespace adjoint
