#include "runtime/cuda/takes_region.h"

#include <string>
#include <vector>

#include "ops/region.h"

namespace adjoint::cuda {

bool takes_region(const HasKernel& has_kernel, std::span<const Value> operands,
                  const std::shared_ptr<const Block>& body) {
  Block scratch("scratch");
  std::vector<Value> arguments;
  for (const Value& operand : operands) {
    arguments.push_back(scratch.argument("a" + std::to_string(arguments.size()), operand.type()));
  }
  const Node& node = region(scratch, arguments, body).node();
  KernelRequest request{node, {}, {}};
  for (const Value& operand : operands) request.inputs.push_back(concrete(operand.type()));
  for (const Type& type : node.types) request.outputs.push_back(concrete(type));
  return has_kernel(request);
}

}  // namespace adjoint::cuda
