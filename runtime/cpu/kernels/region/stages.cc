#include "runtime/cpu/kernels/region/stages.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "graph/error.h"

namespace adjoint::cpu {
namespace {

Type type_of(const TensorType& type) { return {type.dtype, Shape::of(type.dims)}; }

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

int Stages::add(const std::vector<int>& slots, const Body& body) {
  if (types_.size() == kMaxSlots) throw PlanError("a kernel has too many stages");
  Block block("stage");
  std::vector<Value> arguments;
  for (int slot : slots) {
    std::string name = "slot";
    name += std::to_string(arguments.size());
    arguments.push_back(block.argument(std::move(name), type_of(types_[slot])));
  }
  const Value result = body(arguments);
  block.result("r", result);
  std::optional<RegionProgram> program = RegionProgram::compile(block);
  if (!program) throw PlanError("a stage of a kernel is no region");
  stages_.push_back({slots, *std::move(program)});
  types_.push_back(concrete(result.type()));
  return static_cast<int>(types_.size()) - 1;
}

size_t Stages::workspace_bytes() const {
  size_t bytes = 0;
  for (size_t slot = 1; slot + 1 < types_.size(); ++slot)
    bytes += aligned(types_[slot].byte_count());
  size_t inner = 0;
  for (const Stage& stage : stages_) inner = std::max(inner, stage.program.workspace_bytes());
  return bytes + inner;
}

void Stages::run(const KernelCall& call) const {
  std::array<void*, kMaxSlots> slots = {const_cast<void*>(call.inputs[0])};
  auto* free = static_cast<std::byte*>(call.workspace);
  for (size_t slot = 1; slot + 1 < types_.size(); ++slot) {
    slots[slot] = free;
    free += aligned(types_[slot].byte_count());
  }
  slots[types_.size() - 1] = call.outputs[0];
  for (size_t i = 0; i < stages_.size(); ++i) {
    std::array<const void*, kMaxSlots> inputs;
    const size_t count = stages_[i].slots.size();
    for (size_t k = 0; k < count; ++k) inputs[k] = slots[stages_[i].slots[k]];
    stages_[i].program.run(
        {std::span(inputs).first(count), std::span(slots).subspan(i + 1, 1), free, call.threads});
  }
}

}  // namespace adjoint::cpu
