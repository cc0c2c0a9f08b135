// For passes that make regions for kernels of libraries: whether there is one.
//
//   if (takes_region(has_kernel, operands, body)) return {region(site.block, operands, body)};
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "graph/block.h"
#include "runtime/kernel.h"

namespace adjoint::cuda {

using HasKernel = std::function<bool(const KernelRequest&)>;

// Whether a kernel takes a region with this body on operands of these types, whose shapes are
// known.
bool takes_region(const HasKernel& has_kernel, std::span<const Value> operands,
                  const std::shared_ptr<const Block>& body);

}  // namespace adjoint::cuda
