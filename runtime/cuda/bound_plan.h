// A plan with its kernels on a GPU. Internal to runtime/cuda/device.h.
#pragma once

#include <memory>

#include "runtime/cuda/codegen/compiler.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/queue.h"
#include "runtime/device.h"

namespace adjoint::cuda {

// What a device's plans share. It outlives them.
struct Engine {
  Queue queue;
  Compiler compiler;
  KernelTable kernels;
  Context context;
};

// A kernel of the table by its name in a plan, "provider.op" or "provider.op#variant".
struct NamedKernel {
  const KernelDef* def = nullptr;  // null where there is none
  std::string variant;             // behind the '#'
};
NamedKernel find_kernel(const KernelTable& table, std::string_view op, std::string_view name);

// Throws PlanError for a kernel that the table lacks, DeviceError where one does not compile.
std::unique_ptr<BoundPlan> bind_plan(std::shared_ptr<const Plan> plan,
                                     std::shared_ptr<Engine> engine);

}  // namespace adjoint::cuda
