#include "runtime/allocate.h"

#include <algorithm>
#include <map>
#include <vector>

#include "graph/error.h"

namespace adjoint {
namespace {

constexpr size_t kListed = 5;

// A range of the arena while a launch runs: of a buffer, or the launch's workspace (-1).
struct Use {
  size_t bytes = 0;
  int32_t buffer = -1;
};

// Values that share their memory count once.
std::vector<Use> uses_at(const Plan& plan, int32_t launch) {
  std::map<size_t, Use> by_offset;
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const PlanBuffer& buffer = plan.buffers[i];
    if (plan.storages[buffer.storage].kind != StorageKind::arena) continue;
    if (buffer.first > launch || std::max(buffer.first, buffer.last) < launch) continue;
    Use& use = by_offset[buffer.offset];
    if (buffer.bytes > use.bytes) use = {buffer.bytes, static_cast<int32_t>(i)};
  }
  std::vector<Use> uses = {{plan.launches[launch].workspace_bytes, -1}};
  for (const auto& [offset, use] : by_offset) uses.push_back(use);
  return uses;
}

std::string text_of(const Plan& plan, const Use& use, int32_t launch) {
  const Function& function = *plan.function;
  const std::string bytes = "\n    " + std::to_string(use.bytes) + " bytes  ";
  if (use.buffer < 0) return bytes + "workspace of " + plan.launches[launch].kernel;
  const ValueId value = plan.buffers[use.buffer].value;
  const Node& node = function.node(value.node);
  return bytes + to_text(function.type(value)) + " of " + std::string(node.op->name) +
         ", built at " + to_text(line_of(node.origin));
}

// Where the arena is fullest, and with what.
std::string largest_values(const Plan& plan) {
  int32_t fullest = 0;
  std::vector<Use> uses;
  size_t most = 0;
  for (int32_t launch = 0; launch < static_cast<int32_t>(plan.launches.size()); ++launch) {
    std::vector<Use> here = uses_at(plan, launch);
    size_t bytes = 0;
    for (const Use& use : here) bytes += use.bytes;
    if (bytes <= most) continue;
    most = bytes;
    fullest = launch;
    uses = std::move(here);
  }
  std::ranges::stable_sort(uses, std::ranges::greater(), &Use::bytes);
  if (uses.size() > kListed) uses.resize(kListed);
  std::string text;
  for (const Use& use : uses) {
    if (use.bytes > 0) text += text_of(plan, use, fullest);
  }
  return "\n  the largest in use at launch " + std::to_string(fullest) + " (" +
         plan.launches[fullest].kernel + "), when most is:" + text;
}

std::string bindings_text(const DimBindings& bindings) {
  std::string text;
  for (const auto& [symbol, size] : bindings) text += ", " + symbol + "=" + std::to_string(size);
  return text;
}

}  // namespace

Tensor allocate(Device& device, const std::string& what, const TensorType& type) {
  try {
    return device.allocate(type);
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(what + ", " + to_text(type) + ": " + error.what());
  }
}

Tensor allocate_arena(Device& device, const Plan& plan) {
  try {
    return device.allocate({DType::u8, {static_cast<int64_t>(plan.arena_bytes())}});
  } catch (const OutOfMemory& error) {
    throw OutOfMemory("the arena of '" + plan.function->name() + "'" +
                      bindings_text(plan.bindings) + ": " + error.what() + largest_values(plan));
  }
}

}  // namespace adjoint
