// The standard pipeline over a function, before it is planned for any device: constants folded,
// equal nodes merged, exact identities applied, dead code removed.
//
//   auto optimized = optimize(module.get_function("train"));
//   Executable train(*optimized.function, device);
#pragma once

#include "graph/pass.h"

namespace adjoint {

// Passes, in order: fold, cse, the identities of ops/rewrites, dce; repeated until nothing changes.
Pipeline standard_pipeline();

// standard_pipeline().run(function).
Pipeline::Result optimize(const Function& function);

}  // namespace adjoint
