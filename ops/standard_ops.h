// All ops that come with Adjoint, as the parser and tools need them.
//
//   OpSet ops = standard_ops();
//   ops.add(kMyOp);
#pragma once

#include "graph/op.h"

namespace adjoint {

OpSet standard_ops();

}  // namespace adjoint
