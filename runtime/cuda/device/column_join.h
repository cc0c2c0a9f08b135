// Joins what the blocks of a launch have of a result's channels: each has a tile of some rows and
// channels in shared memory, and a part, such as sums, of each of its channels.
//
//   const ColumnSlice at(block.channels);
//   Part part;
//   for (int row = at.slice; at.is_inside() && row < rows; row += at.slices) part.add(...);
//   join_columns(block, groups, parts, part, offset, [&](int channel, const Part& total) { ... });
//
// Part() is what nothing has, and part.merge(other) adds. Blocks are joined in groups, and the
// groups at last, in a fixed order: the same bits every time.
#pragma once

#include <algorithm>

#include "graph/host_device.h"
#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/last_block.h"

namespace adjoint::cuda {

// How the blocks that share a tile's channels are joined: few of them at once, more in groups. Each
// tile of channels has its own tickets: one for each group, and one for the groups.
struct ColumnGroups {
  int blocks, size, groups;

  static bool fit(int tiles, int tickets) { return tiles <= tickets; }
  ColumnGroups(int blocks, int tiles, int tickets) : blocks(blocks), size(blocks), groups(1) {
    constexpr int kAtOnce = 64, kLeast = 16;
    const int most = tickets / tiles - 1;
    if (blocks <= kAtOnce || most <= 1) return;
    size = std::max(kLeast, (blocks - 1) / most + 1);
    groups = (blocks - 1) / size + 1;
  }
  // Of one block alone nothing is stored.
  template <typename Part>
  size_t partial_bytes(int64_t channels) const {
    if (blocks == 1) return 0;
    return sizeof(Part) * (groups > 1 ? blocks + groups : blocks) * channels;
  }
  ADJOINT_HOST_DEVICE int tickets() const { return groups > 1 ? groups + 1 : 1; }
  ADJOINT_HOST_DEVICE int members(int group) const {
    return group < groups - 1 ? size : blocks - group * size;
  }
};

// Of the blocks that have the same channels, one.
struct ColumnBlock {
  int number;
  int64_t first;      // channel
  int channels;       // from that on
  int64_t all;        // channels of the result
  unsigned* tickets;  // of these channels: ColumnGroups::tickets()
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
template <typename Part>
ADJOINT_HOST_DEVICE constexpr int column_scratch_bytes(int threads) {
  return (threads * static_cast<int>(sizeof(Part)) + 15) / 16 * 16 + 16;
}

// What all slices have of a channel, for the first one.
template <typename Part>
__device__ inline Part merge_slices(const ColumnSlice& at, int channels, const Part& part,
                                    int offset) {
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const Shared<Part> scratch = shared_memory<Part>(threads, offset);
  if (at.slice > 0 && at.is_inside()) scratch[thread] = part;
  __syncthreads();
  Part total = part;
  for (int s = 1; at.slice == 0 && s < at.slices; ++s) total.merge(scratch[s * channels + thread]);
  return total;
}

// What `count` blocks or groups have of a channel, for the first slice. As few slices as read all
// at once: what they have is merged one after the other.
template <typename Part>
__device__ inline Part merge_parts(ColumnSlice at, const ColumnBlock& block, const Part* parts,
                                   int count, int offset) {
  constexpr int kAtOnce = 4;
  at.slices = min(at.slices, (count + kAtOnce - 1) / kAtOnce);
  Part total;
  for (int i = at.slice; at.is_inside() && i < count; i += kAtOnce * at.slices) {
    Part some[kAtOnce];
    for (int k = 0; k < kAtOnce; ++k) {
      const int part = i + k * at.slices;
      if (part < count) some[k] = parts[part * block.all + (block.first + at.channel)];
    }
    for (const Part& part : some) total.merge(part);
  }
  return merge_slices(at, block.channels, total, offset);
}

// Joins what all threads of all blocks have; finish(channel, total) gets each channel's once, in
// the last block, which gets true when all of its threads see what finish has written. `parts`
// holds partial_bytes; from byte `offset` on there are column_scratch_bytes of shared memory.
template <typename Part, typename Finish>
__device__ inline bool join_columns(const ColumnBlock& block, const ColumnGroups& groups,
                                    Part* parts, const Part& own, int offset, Finish finish) {
  const ColumnSlice at(block.channels);
  const int64_t channel = block.first + at.channel;
  const int group = block.number / groups.size, members = groups.members(group);
  const Shared<int> flag =
      shared_memory<int>(1, offset + column_scratch_bytes<Part>(static_cast<int>(blockDim.x)) - 16);
  Part total = merge_slices(at, block.channels, own, offset);
  if (groups.blocks > 1) {
    if (at.slice == 0) parts[block.number * block.all + channel] = total;
    if (!is_last_block(block.tickets + group, members, flag)) return false;
    total = merge_parts(at, block, parts + group * groups.size * block.all, members, offset);
  }
  if (groups.groups > 1) {
    Part* const group_parts = parts + groups.blocks * block.all;
    if (at.slice == 0) group_parts[group * block.all + channel] = total;
    if (!is_last_block(block.tickets + groups.groups, groups.groups, flag)) return false;
    total = merge_parts(at, block, group_parts, groups.groups, offset);
  }
  if (at.slice == 0) finish(channel, total);
  __syncthreads();
  return true;
}

}  // namespace adjoint::cuda
