#include "runtime/cuda/takes_region.h"

#include <string>
#include <vector>

#include "ops/region.h"

namespace adjoint::cuda {
namespace {

const Node& region_in(Block& block, const std::shared_ptr<const Block>& body) {
  std::vector<Value> operands;
  for (ValueId id : body->arguments()) {
    operands.push_back(block.argument("a" + std::to_string(operands.size()), body->type(id)));
  }
  return region(block, operands, body).node();
}

}  // namespace

LoneRegion::LoneRegion(const std::shared_ptr<const Block>& body)
    : request{region_in(block_, body), {}, {}} {
  for (ValueId id : body->arguments()) request.inputs.push_back(concrete(body->type(id)));
  for (const Type& type : request.node.types) request.outputs.push_back(concrete(type));
}

bool takes_region(const HasKernel& has_kernel, const std::shared_ptr<const Block>& body) {
  return has_kernel(LoneRegion(body).request);
}

}  // namespace adjoint::cuda
