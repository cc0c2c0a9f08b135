// Checks that a function is what its ops say, from the function alone.
//
//   verify(function);   // GraphError: verify 'train': %12 matmul: its type is f32[3], but f32[4]
//                       // is inferred\n  built at model.cc:24
#pragma once

#include "graph/module.h"

namespace adjoint {

// Infers every type again and compares; checks operands, arity, attributes, numbers, leaves, nested
// blocks (closed: arguments are their only leaves), results and updates. Throws GraphError naming
// the node's number, its op and the user's line. Linear, a loop over nodes.
void verify(const Block& block);
void verify(const Function& function);
void verify(const Module& module);

}  // namespace adjoint
