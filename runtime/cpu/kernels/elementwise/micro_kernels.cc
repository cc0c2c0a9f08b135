#include "runtime/cpu/kernels/elementwise/micro_kernels.h"

#include <algorithm>
#include <tuple>

namespace adjoint::cpu {
namespace {

auto key_of(const MicroEntry& entry) { return std::tuple(entry.op, entry.in, entry.out); }

// Sorted by op and types.
const std::vector<MicroEntry>& table() {
  static const std::vector<MicroEntry> entries = [] {
    std::vector<MicroEntry> all;
    add_unary(all);
    add_binary(all);
    add_logic(all);
    add_casts(all);
    std::sort(all.begin(), all.end(),
              [](const MicroEntry& a, const MicroEntry& b) { return key_of(a) < key_of(b); });
    return all;
  }();
  return entries;
}

}  // namespace

const MicroEntry* find_micro_kernel(std::string_view op, DType in, DType out) {
  const MicroEntry wanted = {op, in, out, nullptr};
  const auto found = std::lower_bound(
      table().begin(), table().end(), wanted,
      [](const MicroEntry& a, const MicroEntry& b) { return key_of(a) < key_of(b); });
  const bool same = found != table().end() && key_of(*found) == key_of(wanted);
  return same ? &*found : nullptr;
}

std::vector<std::string_view> micro_kernel_ops() {
  std::vector<std::string_view> ops;
  for (const MicroEntry& entry : table()) {
    if (ops.empty() || ops.back() != entry.op) ops.push_back(entry.op);
  }
  return ops;
}

}  // namespace adjoint::cpu
