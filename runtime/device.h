// Devices: where plans run. The CPU's is in runtime/cpu/device.h.
//
//   std::shared_ptr<Device> device = cpu::device(2);
//   Executable train(module.get_function("train"), device);
#pragma once

#include <functional>
#include <map>
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

// What the planner estimates with when it decides which launches run beside each other.
struct StreamModel {
  int streams = 1;            // that launches may be spread over; 3 at most are used
  double launch_seconds = 0;  // of a launch, beside its work
  double event_seconds = 0;   // of a wait for another stream
  double bytes_per_second = 1;
  double flops_per_second = 1;
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

using TensorTypes = std::map<std::string, TensorType, std::less<>>;

// Tensors that are written on the host, then copied to the device while it works on others:
//
//   slot->wait_writable();      // any thread
//   ... write slot->host() ...
//   slot->send();
//   slot->receive();            // the thread that runs steps
//   ... run steps that read slot->device() ...
//   slot->done();
//
// and again. No call but the first waits. A device that is the host has one set of tensors.
class UploadSlot {
 public:
  virtual ~UploadSlot() = default;
  virtual const Tensors& host() const = 0;
  virtual const Tensors& device() const = 0;
  // Until what was sent last has left the host's tensors.
  virtual void wait_writable() = 0;
  // Copies to the device, behind the steps that were run before done().
  virtual void send() = 0;
  // Steps that are run from now on come behind the copy.
  virtual void receive() = 0;
  virtual void done() = 0;
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
  virtual StreamModel stream_model() const { return {}; }
  // Zeroed memory of the device, aligned for its kernels.
  virtual Tensor allocate(const TensorType& type) = 0;
  // Bytes that could still be allocated; nothing where the device uses the host's memory.
  virtual std::optional<size_t> free_bytes() const = 0;
  // Its tensors are aligned and contiguous; what they hold at first is not said.
  virtual std::unique_ptr<UploadSlot> make_upload_slot(const TensorTypes& types) = 0;
  // Between tensors of equal type, each on the host or on this device. Ordered after earlier runs.
  virtual void copy(const Tensor& from, const Tensor& to) = 0;
  // Prepares the plan's kernels; throws PlanError for kernels that this device lacks.
  virtual std::unique_ptr<BoundPlan> bind(std::shared_ptr<const Plan> plan) = 0;
};

}  // namespace adjoint
