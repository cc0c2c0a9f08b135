// For passes that make regions for kernels of libraries and those written by hand: whether there is
// one.
//
//   if (takes_region(has_kernel, body)) return {region(site.block, operands, body)};
#pragma once

#include <functional>
#include <memory>

#include "graph/block.h"
#include "runtime/kernel.h"

namespace adjoint::cuda {

// A region by itself, as kernels are asked for it; its shapes are known.
class LoneRegion {
 public:
  explicit LoneRegion(const std::shared_ptr<const Block>& body);
  LoneRegion(const LoneRegion&) = delete;
  LoneRegion& operator=(const LoneRegion&) = delete;

 private:
  Block block_{"lone"};

 public:
  KernelRequest request;
};

using HasKernel = std::function<bool(const KernelRequest&)>;

// Whether a kernel takes a region with this body.
bool takes_region(const HasKernel& has_kernel, const std::shared_ptr<const Block>& body);

}  // namespace adjoint::cuda
