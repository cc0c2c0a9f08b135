#include "runtime/cpu/device.h"

#include <mutex>
#include <utility>

#include "graph/error.h"
#include "runtime/cpu/bound_plan.h"

namespace adjoint::cpu {
namespace {

// What is written is where it is read: there is nothing to copy, and steps end before run()
// returns.
class HostSlot final : public UploadSlot {
 public:
  explicit HostSlot(const TensorTypes& types) {
    for (const auto& [name, type] : types) tensors_.emplace(name, Tensor::zeros(type));
  }
  const Tensors& host() const override { return tensors_; }
  const Tensors& device() const override { return tensors_; }
  void wait_writable() override {}
  void send() override {}
  void receive() override {}
  void done() override {}

 private:
  Tensors tensors_;
};

class CpuDevice final : public Device {
 public:
  CpuDevice(int threads, KernelTable kernels, Lowering lowering)
      : kernels_(std::move(kernels)),
        lowering_(std::move(lowering)),
        workers_(std::make_shared<Workers>(threads)) {}

  DeviceId id() const override { return {}; }

  std::unique_ptr<Function> lower(const Function& function) const override {
    return lowering_ ? lowering_(function) : nullptr;
  }

  std::optional<KernelChoice> choose(const KernelRequest& request,
                                     std::string_view wanted) const override {
    const KernelDef* kernel =
        wanted.empty() ? cpu::choose(kernels_, request) : named(request, wanted);
    if (kernel == nullptr) return {};
    return KernelChoice{std::string(kernel->name),
                        kernel->describe ? kernel->describe(request) : KernelFacts{}};
  }

  Tensor allocate(const TensorType& type) override { return Tensor::zeros(type); }

  std::optional<size_t> free_bytes() const override { return {}; }

  std::unique_ptr<UploadSlot> make_upload_slot(const TensorTypes& types) override {
    return std::make_unique<HostSlot>(types);
  }

  void copy(const Tensor& from, const Tensor& to) override { copy_elements(from, to); }

  std::unique_ptr<BoundPlan> bind(std::shared_ptr<const Plan> plan) override {
    if (plan->device != name()) {
      throw PlanError("a plan made for " + plan->device + " cannot run on " + name());
    }
    return bind_plan(std::move(plan), kernels_, workers_);
  }

 private:
  const KernelDef* named(const KernelRequest& request, std::string_view name) const {
    const KernelDef* kernel = kernels_.find(request.node.op->name, name);
    const bool fits =
        kernel != nullptr && (kernel->supports == nullptr || kernel->supports(request));
    return fits ? kernel : nullptr;
  }

  KernelTable kernels_;
  Lowering lowering_;
  std::shared_ptr<Workers> workers_;
};

}  // namespace

std::shared_ptr<Device> device(int threads, KernelTable kernels, Lowering lowering) {
  return std::make_shared<CpuDevice>(threads, std::move(kernels), std::move(lowering));
}

}  // namespace adjoint::cpu
