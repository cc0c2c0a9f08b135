#include "runtime/cpu/kernel.h"

namespace adjoint::cpu {

void KernelTable::add(std::span<const KernelDef> kernels) {
  for (const KernelDef& kernel : kernels) {
    by_op_.emplace(kernel.op, kernels_.size());
    kernels_.push_back(kernel);
  }
}

const KernelDef* KernelTable::choose(const KernelRequest& request) const {
  const auto [begin, end] = by_op_.equal_range(request.node.op->name);
  for (auto it = begin; it != end; ++it) {
    const KernelDef& kernel = kernels_[it->second];
    if (kernel.supports == nullptr || kernel.supports(request)) return &kernel;
  }
  return nullptr;
}

const KernelDef* KernelTable::find(std::string_view op, std::string_view name) const {
  const auto [begin, end] = by_op_.equal_range(op);
  for (auto it = begin; it != end; ++it) {
    if (kernels_[it->second].name == name) return &kernels_[it->second];
  }
  return nullptr;
}

std::vector<const KernelDef*> KernelTable::for_op(std::string_view op) const {
  std::vector<const KernelDef*> found;
  const auto [begin, end] = by_op_.equal_range(op);
  for (auto it = begin; it != end; ++it) found.push_back(&kernels_[it->second]);
  return found;
}

}  // namespace adjoint::cpu
