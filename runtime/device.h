// Devices: where plans run. The CPU's is in runtime/cpu/device.h.
//
//   std::shared_ptr<Device> device = cpu::device(2);
//   Executable train(module.get_function("train"), device);
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/plan.h"
#include "runtime/tensor.h"

namespace adjoint {

class Profiler;

struct KernelChoice {
  std::string name;
  KernelFacts facts;
};

struct RunHooks {
  Profiler* profiler = nullptr;  // receives the time of every launch
  // Throws DataError naming the node, before the state is written, where a result of a kernel is
  // infinite or not a number. A check of all values: for finding out, not for every step.
  bool check_finite = false;
};

// A plan with its kernels prepared: one user at a time.
class BoundPlan {
 public:
  virtual ~BoundPlan() = default;
  // One step. `memory`: the address of each of the plan's storages, on the device, aligned. Throws
  // DataError where a kernel meets bad values, naming the node's line; no variable has been
  // written then.
  virtual void run(std::span<void* const> memory, const RunHooks& hooks) = 0;
};

// Calls may come from several threads; the runs of one device's plans take turns.
class Device {
 public:
  virtual ~Device() = default;

  virtual DeviceId id() const = 0;
  std::string name() const { return to_text(id()); }

  // The target passes: an equal function of ops that the device computes faster, regions above all;
  // null where it is to stay as it is. The function's shapes are known.
  virtual std::unique_ptr<Function> lower(const Function& function) const {
    static_cast<void>(function);
    return nullptr;
  }
  // The kernel that computes the request: the one named, or, without a name, the device's choice.
  // Nothing where there is none.
  virtual std::optional<KernelChoice> choose(const KernelRequest& request,
                                             std::string_view kernel = {}) const = 0;
  // Zeroed memory of the device, aligned for its kernels.
  virtual Tensor allocate(const TensorType& type) = 0;
  // Between tensors of equal type, each on the host or on this device. Ordered after earlier runs.
  virtual void copy(const Tensor& from, const Tensor& to) = 0;
  // Prepares the plan's kernels; throws PlanError for kernels that this device lacks.
  virtual std::unique_ptr<BoundPlan> bind(std::shared_ptr<const Plan> plan) = 0;
};

}  // namespace adjoint
