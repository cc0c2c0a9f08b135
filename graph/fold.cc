#include <algorithm>

#include "graph/error.h"
#include "graph/passes.h"

namespace adjoint {
namespace {

constexpr int64_t kAlwaysSmall = 1024;  // elements: a constant may grow to this size

// The operands' values, where all are constants and folding is not too large; otherwise nothing.
std::vector<Literal> constant_operands(const RewriteSite& site, const FoldOptions& options) {
  std::vector<Literal> literals;
  int64_t operand_elements = 0;
  for (Value operand : site.operands) {
    if (operand.node().op != &kConstant) return {};
    literals.push_back(operand.node().attributes.get<ConstantAttributes>().value);
    operand_elements += literals.back().element_count();
  }
  const int64_t limit = std::min(options.max_elements, std::max(kAlwaysSmall, operand_elements));
  int64_t elements = 0;
  for (const Type& type : site.node.types) {
    if (!type.shape.is_static()) return {};
    const int64_t count = type.shape.element_count().value();
    if (count > limit - elements) return {};
    elements += count;
  }
  return literals;
}

bool has_constant_operands(const Function& function, const Node& node) {
  return !node.operands.empty() && std::ranges::all_of(node.operands, [&](ValueId id) {
    return function.node(id).op == &kConstant;
  });
}

std::vector<Value> fold_node(const RewriteSite& site, const Evaluator& evaluate,
                             const FoldOptions& options) {
  if (site.operands.empty()) return {};
  const std::vector<Literal> literals = constant_operands(site, options);
  if (literals.empty()) return {};
  std::optional<std::vector<Literal>> outputs = evaluate(site.node, literals);
  if (!outputs) return {};
  std::vector<Value> values;
  for (Literal& literal : *outputs) values.push_back(constant(site.block, std::move(literal)));
  return values;
}

}  // namespace

Pass fold_pass(Evaluator evaluate, FoldOptions options) {
  return {"fold", [evaluate = std::move(evaluate), options](const Function& function) {
            return rewrite(
                function,
                [&](const RewriteSite& site) { return fold_node(site, evaluate, options); },
                has_constant_operands);
          }};
}

}  // namespace adjoint
