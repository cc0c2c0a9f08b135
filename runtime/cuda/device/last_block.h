// Finds the block that finishes a launch last, so that it can combine what all have written.
//
//   partials[blockIdx.x] = sum;
//   if (!is_last_block(call.tickets, gridDim.x, shared_memory<int>(1))) return;
//   ... every thread of this one block sees the partials of all ...
#pragma once

#include "runtime/cuda/device/block.h"

namespace adjoint::cuda {

// Whether this block is the last of `blocks` to call this; called by all its threads. The ticket is
// 0 before the first call and after the last. `flag` holds one element.
__device__ inline bool is_last_block(unsigned* ticket, int blocks, Shared<int> flag) {
  const bool first_thread = threadIdx.x == 0;
  __threadfence();
  __syncthreads();
  if (first_thread) flag[0] = atomicAdd(ticket, 1u) == static_cast<unsigned>(blocks) - 1;
  __syncthreads();
  const bool last = flag[0] != 0;
  __syncthreads();
  if (!last) return false;
  __threadfence();
  if (first_thread) *ticket = 0;
  return true;
}

}  // namespace adjoint::cuda
