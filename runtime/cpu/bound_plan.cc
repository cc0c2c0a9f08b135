#include "runtime/cpu/bound_plan.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "graph/error.h"
#include "graph/printer.h"
#include "runtime/profiler.h"

namespace adjoint::cpu {
namespace {

// What a launch calls, and where its pointers stand.
struct Step {
  PreparedKernel kernel = {};
  uint32_t inputs = 0;  // the first of them
  uint32_t input_count = 0;
  uint32_t outputs = 0;
  uint32_t output_count = 0;
  uint32_t workspace = 0;  // among the outputs
};

// A pointer that follows a storage.
struct Slot {
  uint32_t index;
  bool output;
  size_t offset;
};

PreparedKernel copy_kernel(size_t bytes) {
  return [bytes](const KernelCall& call) {
    if (bytes != 0) std::memcpy(call.outputs[0], call.inputs[0], bytes);
  };
}

bool all_finite(DType dtype, const void* data, int64_t count) {
  const auto* bytes = static_cast<const std::byte*>(data);
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(load_element(dtype, bytes + i * size_of(dtype)))) return false;
  }
  return true;
}

class CpuBoundPlan final : public BoundPlan {
 public:
  CpuBoundPlan(std::shared_ptr<const Plan> plan, const KernelTable& kernels,
               std::shared_ptr<Workers> workers)
      : plan_(std::move(plan)), workers_(std::move(workers)) {
    memory_.assign(plan_->storages.size(), nullptr);
    slots_.resize(plan_->storages.size());
    steps_.reserve(plan_->launches.size());
    for (const Launch& launch : plan_->launches) add_step(launch, kernels);
  }

  void run(std::span<void* const> memory, const RunHooks& hooks) override {
    std::lock_guard<std::mutex> turn(workers_->turn);
    follow(memory);
    bool state_written = false;
    for (size_t i = 0; i < steps_.size(); ++i) {
      if (hooks.profiler == nullptr && !hooks.check_finite) {
        call(i);
        continue;
      }
      const auto start = std::chrono::steady_clock::now();
      call(i);
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      if (hooks.profiler) hooks.profiler->add(plan_->launches[i], taken.count());
      state_written |= plan_->launches[i].writes_state;
      if (hooks.check_finite && !state_written) check_finite(i);
    }
  }

 private:
  void add_step(const Launch& launch, const KernelTable& kernels) {
    Step step{.inputs = static_cast<uint32_t>(inputs_.size()),
              .input_count = static_cast<uint32_t>(launch.inputs.size()),
              .outputs = static_cast<uint32_t>(outputs_.size()),
              .output_count = static_cast<uint32_t>(launch.outputs.size())};
    for (int32_t buffer : launch.inputs) {
      add_slot(plan_->buffers[buffer], static_cast<uint32_t>(inputs_.size()), false);
      inputs_.push_back(nullptr);
    }
    for (int32_t buffer : launch.outputs) {
      add_slot(plan_->buffers[buffer], static_cast<uint32_t>(outputs_.size()), true);
      outputs_.push_back(nullptr);
    }
    step.workspace = static_cast<uint32_t>(outputs_.size());
    outputs_.push_back(nullptr);
    if (launch.workspace_bytes != 0) {
      slots_[0].push_back({step.workspace, true, launch.workspace_offset});
    }
    step.kernel = launch.is_copy() ? copy_kernel(plan_->buffers[launch.inputs[0]].bytes)
                                   : prepare(launch, kernels);
    steps_.push_back(std::move(step));
  }

  void add_slot(const PlanBuffer& buffer, uint32_t index, bool output) {
    slots_[buffer.storage].push_back({index, output, buffer.offset});
  }

  PreparedKernel prepare(const Launch& launch, const KernelTable& kernels) const {
    const Node& node = plan_->function->node(launch.node);
    const KernelDef* kernel = kernels.find(node.op->name, launch.kernel);
    if (kernel == nullptr || kernel->prepare == nullptr) {
      throw PlanError("cpu: no kernel '" + launch.kernel + "' for " + std::string(node.op->name));
    }
    return kernel->prepare(make_request(*plan_->function, launch.node));
  }

  // Renews the pointers into storages that moved since the last run.
  void follow(std::span<void* const> memory) {
    for (size_t i = 0; i < memory.size(); ++i) {
      if (memory[i] == memory_[i]) continue;
      memory_[i] = memory[i];
      auto* base = static_cast<std::byte*>(memory[i]);
      for (const Slot& slot : slots_[i]) {
        if (slot.output) {
          outputs_[slot.index] = base + slot.offset;
        } else {
          inputs_[slot.index] = base + slot.offset;
        }
      }
    }
  }

  void call(size_t index) {
    const Step& step = steps_[index];
    const std::span<const void* const> inputs(inputs_.data() + step.inputs, step.input_count);
    const std::span<void* const> outputs(outputs_.data() + step.outputs, step.output_count);
    try {
      step.kernel({inputs, outputs, outputs_[step.workspace], workers_->threads});
    } catch (const DataError& error) {
      throw DataError(std::string(error.what()) + where(index));
    }
  }

  std::string where(size_t index) const {
    const Launch& launch = plan_->launches[index];
    if (launch.is_copy()) return "";
    const Function& function = *plan_->function;
    return "\n  in " + value_text(function, {launch.node, 0}) + " = " +
           std::string(function.node(launch.node).op->name) + ", built at " +
           to_text(line_of(function.node(launch.node).origin));
  }

  void check_finite(size_t index) const {
    const Launch& launch = plan_->launches[index];
    if (launch.is_copy()) return;
    const Node& node = plan_->function->node(launch.node);
    for (size_t i = 0; i < launch.outputs.size(); ++i) {
      const TensorType type = concrete(node.types[i]);
      const void* data = outputs_[steps_[index].outputs + i];
      if (!is_float(type.dtype) || all_finite(type.dtype, data, type.element_count())) continue;
      throw DataError(std::string(node.op->name) + ": a value of " + to_text(type) +
                      " is infinite or not a number" + where(index));
    }
  }

  std::shared_ptr<const Plan> plan_;
  std::shared_ptr<Workers> workers_;
  std::vector<Step> steps_;
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
  std::vector<std::vector<Slot>> slots_;  // by storage
  std::vector<void*> memory_;             // by storage, as the pointers are now
};

}  // namespace

std::unique_ptr<BoundPlan> bind_plan(std::shared_ptr<const Plan> plan, const KernelTable& kernels,
                                     std::shared_ptr<Workers> workers) {
  return std::make_unique<CpuBoundPlan>(std::move(plan), kernels, std::move(workers));
}

}  // namespace adjoint::cpu
