#include "runtime/cpu/kernel.h"

namespace adjoint::cpu {

const KernelDef* choose(const KernelTable& table, const KernelRequest& request) {
  return table.first(request.node.op->name, [&](const KernelDef& kernel) {
    return kernel.supports == nullptr || kernel.supports(request);
  });
}

}  // namespace adjoint::cpu
