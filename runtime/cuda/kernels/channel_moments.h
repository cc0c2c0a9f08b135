// The mean and variance of each channel of a tensor in memory, in one launch, in f32 of f32 or
// bf16.
//
//   facts.workspace_bytes = channel_moments_workspace(y);
//   channel_moments(y, {.x = ..., .workspace = ..., .mean = ..., .variance = ...}, call);
//
// For results of libraries, and for our own where that is faster than summing them as they are
// computed (device/column_moments.h).
#pragma once

#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

// Of x plus a bias for each channel, or without one (null).
struct ChannelMomentsCall {
  const void* x = nullptr;
  const float* bias = nullptr;
  void* workspace = nullptr;
  float* mean = nullptr;
  float* variance = nullptr;
};

size_t channel_moments_workspace(const TensorType& x);
// Stream and tickets are those of `call`.
void channel_moments(const TensorType& x, const ChannelMomentsCall& moments,
                     const KernelCall& call);

}  // namespace adjoint::cuda
