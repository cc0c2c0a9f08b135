// Means and variances of a result's channels, taken by the blocks that compute it: each has a tile
// of some rows and channels in shared memory.
//
//   const ColumnSlice at(block.channels);
//   ColumnPart part{.first = first_row[at.channel]};
//   for (int row = at.slice; at.is_inside() && row < rows; row += at.slices) part.add(...);
//   join_columns(block, groups, moments, part, offset);  // all threads of the block
//
// Blocks are joined in groups, and the groups at last, in a fixed order: the same bits every time.
#pragma once

#include <algorithm>

#include "graph/host_device.h"
#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/last_block.h"
#include "runtime/scalar/base.h"

namespace adjoint::cuda {

// Of some of a channel's values: sums of the distances from one of them and of their squares, so
// that what all values have in common costs no digits. Joined parts have the first part's `first`.
// That is one of the n values, as is every other part's: the squared distance of the two is at most
// 4 n times the variance, and what moving a sum costs stays as far below it as an f64 is exact.
struct ColumnPart {
  float first = 0;
  int count = 0;
  double sum = 0, squares = 0;

  __device__ void add(float value) {
    const double distance = static_cast<double>(value) - static_cast<double>(first);
    sum += distance;
    squares = scalar::multiply_add(distance, distance, squares);
    ++count;
  }
  __device__ void merge(const ColumnPart& other) {
    if (other.count == 0) return;
    if (count == 0) {
      *this = other;
      return;
    }
    const double apart = static_cast<double>(other.first) - static_cast<double>(first);
    const double moved = other.count * apart;
    sum += other.sum + moved;
    squares += other.squares + 2 * other.sum * apart + moved * apart;
    count += other.count;
  }
};

// How the blocks that share a tile's channels are joined. Each tile of channels has its own
// tickets: one for each group, and one for the groups.
struct ColumnGroups {
  int blocks, size, groups;

  static bool fit(int tiles, int tickets) { return tiles <= tickets / 2; }
  ColumnGroups(int blocks, int tiles, int tickets) : blocks(blocks) {
    constexpr int kLeast = 16;
    const int most = tickets / tiles - 1;
    size = std::max(kLeast, (blocks - 1) / most + 1);
    groups = (blocks - 1) / size + 1;
  }
  size_t partial_bytes(int channels) const {
    return sizeof(ColumnPart) * (blocks + groups) * channels;
  }
  ADJOINT_HOST_DEVICE int tickets() const { return groups + 1; }
  ADJOINT_HOST_DEVICE int members(int group) const {
    return group < groups - 1 ? size : blocks - group * size;
  }
};

// What a kernel is given: a bias that is added to all values, or none.
struct ColumnMoments {
  const float* bias;
  ColumnPart* parts;  // ColumnGroups::partial_bytes
  unsigned* tickets;
  float *mean, *variance;
};

// Of the blocks that have the same channels, one.
struct ColumnBlock {
  int number;
  int first, channels;  // its channels
  int all;              // channels of the result
  unsigned* tickets;    // of these channels: ColumnGroups::tickets()
};

// A thread's share of a block's tile: every so many rows of a channel, from `slice` on.
struct ColumnSlice {
  static constexpr int kMost = 16;
  int slices, slice, channel;

  __device__ explicit ColumnSlice(int channels)
      : slices(min(static_cast<int>(blockDim.x) / channels, kMost)),
        slice(static_cast<int>(threadIdx.x) / channels),
        channel(static_cast<int>(threadIdx.x) - slice * channels) {}
  __device__ bool is_inside() const { return slice < slices; }
};

// The shared memory that so many threads join in.
ADJOINT_HOST_DEVICE constexpr int column_scratch_bytes(int threads) {
  return (threads * static_cast<int>(sizeof(ColumnPart)) + 15) / 16 * 16 + 16;
}

// What all slices have of a channel, for the first one.
__device__ inline ColumnPart merge_slices(const ColumnSlice& at, int channels,
                                          const ColumnPart& part, int offset) {
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const Shared<ColumnPart> scratch = shared_memory<ColumnPart>(threads, offset);
  if (at.slice > 0 && at.is_inside()) scratch[thread] = part;
  __syncthreads();
  ColumnPart total = part;
  for (int s = 1; at.slice == 0 && s < at.slices; ++s) total.merge(scratch[s * channels + thread]);
  return total;
}

// What `count` blocks or groups have of a channel, for the first slice. As few slices as read all
// at once: what they have is merged one after the other.
__device__ inline ColumnPart merge_parts(ColumnSlice at, const ColumnBlock& block,
                                         const ColumnPart* parts, int count, int offset) {
  constexpr int kAtOnce = 4;
  at.slices = min(at.slices, (count + kAtOnce - 1) / kAtOnce);
  ColumnPart total;
  for (int i = at.slice; at.is_inside() && i < count; i += kAtOnce * at.slices) {
    ColumnPart some[kAtOnce];
    for (int k = 0; k < kAtOnce; ++k) {
      const int part = i + k * at.slices;
      if (part < count) some[k] = parts[part * block.all + block.first + at.channel];
    }
    for (const ColumnPart& part : some) total.merge(part);
  }
  return merge_slices(at, block.channels, total, offset);
}

// Joins what all threads of all blocks have; the last block writes the results. From byte `offset`
// on there are column_scratch_bytes of shared memory.
__device__ inline void join_columns(const ColumnBlock& block, const ColumnGroups& groups,
                                    const ColumnMoments& moments, const ColumnPart& own,
                                    int offset) {
  const ColumnSlice at(block.channels);
  const int channel = block.first + at.channel, group = block.number / groups.size;
  const Shared<int> flag =
      shared_memory<int>(1, offset + column_scratch_bytes(static_cast<int>(blockDim.x)) - 16);
  ColumnPart* const group_parts = moments.parts + groups.blocks * block.all;
  ColumnPart total = merge_slices(at, block.channels, own, offset);
  if (at.slice == 0) moments.parts[block.number * block.all + channel] = total;
  const int members = groups.members(group);
  if (!is_last_block(block.tickets + group, members, flag)) return;
  total = merge_parts(at, block, moments.parts + group * groups.size * block.all, members, offset);
  if (groups.groups > 1) {
    if (at.slice == 0) group_parts[group * block.all + channel] = total;
    if (!is_last_block(block.tickets + groups.groups, groups.groups, flag)) return;
    total = merge_parts(at, block, group_parts, groups.groups, offset);
  }
  if (at.slice != 0) return;
  const double count = total.count, apart = total.sum / count;
  const double spread = (total.squares - total.sum * apart) / count;
  moments.mean[channel] = static_cast<float>(static_cast<double>(total.first) + apart);
  moments.variance[channel] = static_cast<float>(spread < 0 ? 0 : spread);
}

}  // namespace adjoint::cuda
