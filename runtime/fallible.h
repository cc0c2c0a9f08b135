// Nodes whose kernels can fail on bad data. A device runs them, and all that they need, before it
// writes the state.
//
//   const std::vector<bool> early = needed_by_fallible(function);
//   if (!early[update.value.node]) ...  // may write its variable straight
#pragma once

#include <vector>

#include "graph/module.h"

namespace adjoint {

// The node itself or the first in its blocks whose op checks its data; null: there is none.
const Node* find_check(const Node& node);
inline bool can_fail(const Node& node) { return find_check(node) != nullptr; }

// By node: whether it can fail, or something that can needs it.
std::vector<bool> needed_by_fallible(const Function& function);

}  // namespace adjoint
