// A plan with its CPU kernels. Internal to runtime/cpu/device.h.
#pragma once

#include <memory>
#include <mutex>

#include "runtime/cpu/kernel.h"
#include "runtime/device.h"

namespace adjoint::cpu {

// A device's threads, and whose turn it is.
struct Workers {
  explicit Workers(int count) : threads(count) {}
  Threads threads;
  std::mutex turn;
};

// Throws PlanError for a kernel that the table lacks.
std::unique_ptr<BoundPlan> bind_plan(std::shared_ptr<const Plan> plan, const KernelTable& kernels,
                                     std::shared_ptr<Workers> workers);

}  // namespace adjoint::cpu
