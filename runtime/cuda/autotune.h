// Chooses among the variants of a kernel by running each on scratch memory.
//
//   Autotuner autotuner;
//   KernelRequest request = ...;                                   // a convolution
//   autotuner.fastest(*def, request, {"1", "6"}, context, queue);  // "6", measured once per shape
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/cuda/kernel.h"
#include "runtime/cuda/queue.h"

namespace adjoint::cuda {

// One user at a time, who has the queue's turn.
class Autotuner {
 public:
  // The variant with the smallest median time, of equals the first. The answer is kept, so that
  // each request is measured once. A variant that fails, or for which there is no room, is passed
  // over; where there is no room to measure any, the first one is the answer. Throws the first
  // variant's DeviceError where all of them fail.
  std::string fastest(const KernelDef& def, const KernelRequest& request,
                      const std::vector<std::string>& variants, Context& context, Queue& queue);

 private:
  std::map<std::string, std::string> answers_;  // by request_key
};

}  // namespace adjoint::cuda
