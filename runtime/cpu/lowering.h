// The CPU's target passes in their order, and the device that uses them.
//
//   for (const std::string& name : cpu::lowering_pipeline().names()) std::cout << name << "\n";
#pragma once

#include "graph/pass.h"

namespace adjoint::cpu {

// The passes of runtime/patterns.h, decompose_missing, fusion, and dce between them.
Pipeline lowering_pipeline();

}  // namespace adjoint::cpu
