// Two sums for each channel (the last dimension), taken over rows in shards: in float over up to
// kFlushRows rows, in double beyond, so that the error does not grow with the number of rows. The
// shards are added in order: the same bits for every number of threads.
//
//   ChannelSums sums(call.workspace, channels, shard);
//   for (each row) { sums.begin_row(); sums.add(c, u, v); ... }
//   sums.finish();
//   auto [u, v] = ChannelSums::total(call.workspace, channels, shards, c);
#pragma once

#include <cstdint>
#include <utility>

#include "runtime/cpu/kernel.h"
#include "runtime/cpu/kernels/simd.h"
#include "runtime/cpu/kernels/widened.h"

namespace adjoint::cpu {

class ChannelSums {
 public:
  static constexpr int kFlushRows = 64;

  static size_t workspace_bytes(int64_t channels, int64_t shards) {
    return shards * shard_bytes(channels);
  }
  ChannelSums(void* workspace, int64_t channels, int64_t shard);

  void begin_row() {
    if (++rows_ > kFlushRows) flush();
  }
  // Adds to the channels from c on, a vector at a time; c is a multiple of the vector's lanes.
  [[gnu::always_inline]] void add(int64_t c, Vec<float> first, Vec<float> second) {
    float* at = &partial_[2 * c];
    store(at, load<Vec<float>>(at) + first);
    store(at + kLanes<float>, load<Vec<float>>(at + kLanes<float>) + second);
  }
  void finish() { flush(); }

  static std::pair<double, double> total(const void* workspace, int64_t channels, int64_t shards,
                                         int64_t channel);

 private:
  static size_t sums_bytes(int64_t channels) {
    return aligned_bytes(2 * sizeof(double) * channels);
  }
  static int64_t partial_size(int64_t channels) {
    return 2 * kLanes<float> * ((channels + kLanes<float> - 1) / kLanes<float>);
  }
  static size_t shard_bytes(int64_t channels) {
    return sums_bytes(channels) + aligned_bytes(sizeof(float) * partial_size(channels));
  }
  void flush();

  double* sums_;    // [2][channels] of this shard
  float* partial_;  // vectors of the first sum and of the second in turn
  int64_t channels_;
  int rows_ = 0;
};

// Mean and population variance of x [rows, channels] per channel. Sums are of x less its first row,
// so that a mean far from zero costs no digits. Uses call.workspace as above.
void channel_moments(const float* x, int64_t rows, int64_t channels, int64_t shards, float* mean,
                     float* variance, const KernelCall& call);

}  // namespace adjoint::cpu
