// The CPU as a device: runs plans launch by launch on a fixed set of threads.
//
//   std::shared_ptr<Device> device = cpu::device(2);                 // two threads, all kernels
//   std::shared_ptr<Device> mine = cpu::device(2, my_kernel_table);
#pragma once

#include <memory>

#include "runtime/cpu/kernel.h"
#include "runtime/device.h"

namespace adjoint::cpu {

// `threads` threads, the caller's included; 0: as many as the machine has cores. Runs of its plans
// take turns: for two runs at once, make two devices.
std::shared_ptr<Device> device(int threads, KernelTable kernels = standard_kernels());

}  // namespace adjoint::cpu
