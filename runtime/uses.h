// Who uses the values of a function.
//
//   const Uses uses(function);
//   if (int32_t user = uses.only_user({node, 0}); user >= 0) ...
#pragma once

#include <cstdint>
#include <map>

#include "graph/module.h"

namespace adjoint {

// How often each value is used in a function, and the only user where there is one.
class Uses {
 public:
  explicit Uses(const Function& function) {
    for (int32_t i = 0; i < static_cast<int32_t>(function.size()); ++i) {
      for (ValueId operand : function.node(i).operands) add(operand, i);
    }
    for (const auto& result : function.results()) add(result.value, -1);
    for (const Update& update : function.updates()) add(update.value, -1);
  }
  // The node that alone uses the value, once; -1 where there is no such node.
  int32_t only_user(ValueId value) const {
    auto found = users_.find(value);
    return found == users_.end() || found->second.count != 1 ? -1 : found->second.node;
  }

 private:
  struct User {
    int64_t count = 0;
    int32_t node = -1;
  };
  void add(ValueId value, int32_t node) {
    User& user = users_[value];
    ++user.count;
    user.node = node;
  }
  std::map<ValueId, User> users_;
};

}  // namespace adjoint
