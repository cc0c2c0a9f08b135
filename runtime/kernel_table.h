// The kernels of a device by op, in order of preference.
//
//   KernelTable<KernelDef> table;
//   table.add(conv_kernels());
//   const KernelDef* kernel = table.find("conv2d", "onednn.conv2d");
//
// Def has `name` ("provider.op") and `op`, both std::string_view.
#pragma once

#include <map>
#include <set>
#include <span>
#include <string_view>
#include <vector>

namespace adjoint {

template <typename Def>
class KernelTable {
 public:
  void add(std::span<const Def> kernels) {
    for (const Def& kernel : kernels) {
      by_op_.emplace(kernel.op, kernels_.size());
      kernels_.push_back(kernel);
    }
  }
  // The first kernel of the op for which `supports(kernel)` holds; null where there is none.
  template <typename F>
  const Def* first(std::string_view op, F&& supports) const {
    const auto [begin, end] = by_op_.equal_range(op);
    for (auto it = begin; it != end; ++it) {
      if (supports(kernels_[it->second])) return &kernels_[it->second];
    }
    return nullptr;
  }
  // The kernel of that name for the op; null where there is none.
  const Def* find(std::string_view op, std::string_view name) const {
    return first(op, [&](const Def& kernel) { return kernel.name == name; });
  }
  std::vector<const Def*> for_op(std::string_view op) const {
    std::vector<const Def*> found;
    first(op, [&](const Def& kernel) {
      found.push_back(&kernel);
      return false;
    });
    return found;
  }
  // The ops that have kernels.
  std::set<std::string_view> ops() const {
    std::set<std::string_view> ops;
    for (const Def& kernel : kernels_) ops.insert(kernel.op);
    return ops;
  }

 private:
  std::vector<Def> kernels_;
  std::multimap<std::string_view, size_t> by_op_;
};

}  // namespace adjoint
