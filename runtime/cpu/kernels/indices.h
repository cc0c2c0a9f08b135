// Checking indices and labels before anything is written.
#pragma once

#include <cstdint>
#include <string>

#include "graph/block.h"
#include "runtime/cpu/kernels/elements.h"

namespace adjoint::cpu {

// What an error about a node's operand says first and last: the op, and the line that built it.
struct IndexCheck {
  explicit IndexCheck(const Node& node, std::string what = "index")
      : op(node.op->name), what(std::move(what)), built(built_at(node.origin)) {}

  // Throws DataError for the first of `count` indices that is not in 0 .. limit - 1.
  void operator()(DType dtype, const void* indices, int64_t count, int64_t limit) const;

  std::string op;
  std::string what;
  std::string built;
};

}  // namespace adjoint::cpu
