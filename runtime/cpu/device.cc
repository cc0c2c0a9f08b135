#include "runtime/cpu/device.h"

#include <mutex>
#include <utility>

#include "graph/error.h"
#include "runtime/cpu/bound_plan.h"

namespace adjoint::cpu {
namespace {

class CpuDevice final : public Device {
 public:
  CpuDevice(int threads, KernelTable kernels)
      : kernels_(std::move(kernels)), workers_(std::make_shared<Workers>(threads)) {}

  DeviceId id() const override { return {}; }

  std::optional<KernelChoice> choose(const KernelRequest& request,
                                     std::string_view wanted) const override {
    const KernelDef* kernel = wanted.empty() ? kernels_.choose(request) : named(request, wanted);
    if (kernel == nullptr) return {};
    return KernelChoice{std::string(kernel->name),
                        kernel->describe ? kernel->describe(request) : KernelFacts{}};
  }

  Tensor allocate(const TensorType& type) override { return Tensor::zeros(type); }

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
  std::shared_ptr<Workers> workers_;
};

}  // namespace

std::shared_ptr<Device> device(int threads, KernelTable kernels) {
  return std::make_shared<CpuDevice>(threads, std::move(kernels));
}

}  // namespace adjoint::cpu
