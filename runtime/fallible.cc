#include "runtime/fallible.h"

#include <algorithm>

namespace adjoint {

bool can_fail(const Node& node) {
  if (node.op->traits.data_checked) return true;
  return std::any_of(node.blocks.begin(), node.blocks.end(), [](const auto& block) {
    for (int32_t i = 0; i < static_cast<int32_t>(block->size()); ++i) {
      if (can_fail(block->node(i))) return true;
    }
    return false;
  });
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
