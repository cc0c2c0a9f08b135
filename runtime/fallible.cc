#include "runtime/fallible.h"

namespace adjoint {

const Node* find_check(const Node& node) {
  if (node.op->traits.data_checked) return &node;
  for (const auto& block : node.blocks) {
    for (int32_t i = 0; i < static_cast<int32_t>(block->size()); ++i) {
      if (const Node* check = find_check(block->node(i))) return check;
    }
  }
  return nullptr;
}

std::vector<bool> needed_by_fallible(const Function& function) {
  std::vector<bool> needed(function.size());
  for (int32_t i = static_cast<int32_t>(function.size()) - 1; i >= 0; --i) {
    if (can_fail(function.node(i))) needed[i] = true;
    if (!needed[i]) continue;
    for (ValueId operand : function.node(i).operands) needed[operand.node] = true;
  }
  return needed;
}

}  // namespace adjoint
