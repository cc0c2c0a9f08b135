// The CPU as a device: runs plans launch by launch on a fixed set of threads.
//
//   std::shared_ptr<Device> device = cpu::device(2);                 // two threads, all kernels
//   std::shared_ptr<Device> mine = cpu::device(2, my_kernel_table);
#pragma once

#include <functional>
#include <memory>

#include "runtime/cpu/kernel.h"
#include "runtime/device.h"

namespace adjoint::cpu {

// The target passes; see Device::lower.
using Lowering = std::function<std::unique_ptr<Function>(const Function&)>;

// `threads` threads, the caller's included; 0: as many as the machine has cores. With all kernels
// and the standard lowering (link //runtime/cpu:standard). Runs of its plans take turns: for two
// runs at once, make two devices.
std::shared_ptr<Device> device(int threads);
// The same with these kernels and this lowering alone.
std::shared_ptr<Device> device(int threads, KernelTable kernels, Lowering lowering = {});

}  // namespace adjoint::cpu
