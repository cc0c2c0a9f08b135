// Reductions over the rows of a matrix [rows, channels], channels being the fastest axis, in two
// stages within one launch: each block reduces some rows, the last one combines their results in
// order. The same order every time.
//
//   reduce_columns<4>(columns, partials, tickets,
//                     [&](int64_t channel, RowRange rows, Sums (&sums)[4]) { ... },
//                     [&](int64_t channel, const Sums& total) { dscale[channel] = total.second; });
//
// Neighbouring threads have neighbouring channels, kVec (columns.vec) each; the block's other
// threads take other rows. Launch with columns.reducing_shape<Sums>().
#pragma once

#include <algorithm>

#include "graph/host_device.h"
#include "runtime/cuda/api/launch.h"
#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/last_block.h"

namespace adjoint::cuda {

struct Columns {
  int64_t rows = 0;
  int64_t channels = 0;
  int vec = 1;     // channels of a thread
  int lanes = 1;   // threads side by side
  int depth = 1;   // threads one behind the other, each with its own rows
  int tiles = 1;   // of channels, each with its own blocks
  int splits = 1;  // blocks that share the rows of a tile

  static constexpr int kThreads = 256;

  // About `rows_each` rows for each thread, in at most `most_splits`. The lanes of a tile read a
  // cache line or two of each row: narrow tiles make for more blocks.
  Columns(int64_t rows, int64_t channels, int vec, int64_t rows_each, int64_t most_splits)
      : rows(rows), channels(channels), vec(vec) {
    const int64_t packs = std::max<int64_t>(channels / vec, 1), most_lanes = vec == 1 ? 32 : 8;
    tiles = static_cast<int>((packs + most_lanes - 1) / most_lanes);
    lanes = static_cast<int>((packs + tiles - 1) / tiles);
    depth = kThreads / lanes;
    const int64_t wanted = (rows + depth * rows_each - 1) / (depth * rows_each);
    splits = static_cast<int>(std::clamp<int64_t>(wanted, 1, most_splits));
  }

  // For a pass that reduces, with so many packs to read in each row: four for a thread, or as many
  // as keep the blocks at what a large GPU runs at a time. A ticket for each tile; of more tiles
  // each is one block's.
  static Columns to_reduce(int64_t rows, int64_t channels, int vec, int tickets, int reads = 1) {
    constexpr int64_t kReads = 4, kBlocks = 256;
    const int64_t rows_each = std::max<int64_t>(kReads / reads, 1);
    const Columns one(rows, channels, vec, rows_each, 1);
    const int64_t splits = one.tiles > tickets ? 1 : std::max<int64_t>(kBlocks / one.tiles, 1);
    return Columns(rows, channels, vec, rows_each, splits);
  }
  // For a pass that writes each row: a row for each thread, or up to four once there are blocks
  // enough.
  static Columns to_write(int64_t rows, int64_t channels, int vec) {
    constexpr int64_t kRowsEach = 4, kBlocks = 512, kMostSplits = 65535;
    const Columns few(rows, channels, vec, kRowsEach, kMostSplits);
    const int64_t splits = std::max<int64_t>(kBlocks / few.tiles, few.splits);
    return Columns(rows, channels, vec, 1, splits);
  }

  LaunchShape shape() const { return {.grid = dim3(tiles, splits), .block = dim3(lanes * depth)}; }
  // The sums that half of the threads hand to the others, and the flag of is_last_block.
  template <typename Sum>
  LaunchShape reducing_shape() const {
    LaunchShape result = shape();
    result.shared_bytes = flag_offset<Sum>() + sizeof(int);
    return result;
  }
  ADJOINT_HOST_DEVICE int scratch_size() const { return vec * lanes * ((depth + 1) / 2); }
  template <typename Sum>
  ADJOINT_HOST_DEVICE int flag_offset() const {
    return (static_cast<int>(sizeof(Sum)) * scratch_size() + 15) / 16 * 16;
  }
  template <typename Sum>
  size_t partial_bytes() const {
    return splits > 1 ? sizeof(Sum) * splits * channels : 0;
  }
};

#if defined(__CUDACC__) || defined(ADJOINT_FAKE_CUDA)

// begin, begin + step, ... below end.
struct RowRange {
  int64_t begin;
  int64_t step;
  int64_t end;
};

// A thread's place.
template <int kVec>
struct ColumnPlace {
  int lane, depth;
  int64_t channel;  // the first of kVec
  bool inside;      // whether there are such channels

  __device__ explicit ColumnPlace(const Columns& columns)
      : lane(static_cast<int>(threadIdx.x) % columns.lanes),
        depth(static_cast<int>(threadIdx.x) / columns.lanes),
        channel((static_cast<int64_t>(blockIdx.x) * columns.lanes + lane) * kVec),
        inside(channel < columns.channels) {}
  __device__ RowRange rows(const Columns& columns) const {
    return {static_cast<int64_t>(blockIdx.y) * columns.depth + depth,
            static_cast<int64_t>(columns.splits) * columns.depth, columns.rows};
  }
};

// Merges what the block's threads one behind the other have; those in front get the result.
template <int kVec, typename Sum>
__device__ inline void merge_depth(const Columns& columns, const ColumnPlace<kVec>& at,
                                   Sum (&sums)[kVec]) {
  const Shared<Sum> scratch = shared_memory<Sum>(columns.scratch_size());
  const int thread = static_cast<int>(threadIdx.x);
  for (int left = columns.depth; left > 1;) {
    const int half = (left + 1) / 2, givers = (left - half) * columns.lanes;
    if (at.depth >= half && at.depth < left) {
      for (int v = 0; v < kVec; ++v) {
        scratch[v * givers + thread - half * columns.lanes] = sums[v];
      }
    }
    __syncthreads();
    if (thread < givers) {
      for (int v = 0; v < kVec; ++v) sums[v].merge(scratch[v * givers + thread]);
    }
    __syncthreads();
    left = half;
  }
}

// Adds the partials of every block to those in `sums`; several are read at a time.
template <int kVec, typename Sum>
__device__ inline void merge_partials(const Columns& columns, const ColumnPlace<kVec>& at,
                                      const Sum* partials, Sum (&sums)[kVec]) {
  constexpr int kAtOnce = 4;
  const int64_t step = columns.depth * columns.channels;
  const Sum* from = partials + at.depth * columns.channels + at.channel;
  int i = at.depth;
  for (; i + (kAtOnce - 1) * columns.depth < columns.splits; i += kAtOnce * columns.depth) {
    Sum parts[kAtOnce][kVec];
    for (int k = 0; k < kAtOnce; ++k, from += step) {
      for (int v = 0; v < kVec; ++v) parts[k][v] = from[v];
    }
    for (int k = 0; k < kAtOnce; ++k) {
      for (int v = 0; v < kVec; ++v) sums[v].merge(parts[k][v]);
    }
  }
  for (; i < columns.splits; i += columns.depth, from += step) {
    for (int v = 0; v < kVec; ++v) sums[v].merge(from[v]);
  }
}

// Sum() is the sum of nothing, and sum.merge(other) adds. accumulate(channel, rows, sums) adds a
// thread's rows; finish(channel, sum) gets each channel's result once. `partials` holds
// columns.partial_bytes<Sum>().
template <int kVec, typename Sum, typename Accumulate, typename Finish>
__device__ inline void reduce_columns(const Columns& columns, Sum* partials, unsigned* tickets,
                                      Accumulate accumulate, Finish finish) {
  const ColumnPlace<kVec> at(columns);
  Sum sums[kVec] = {};
  if (at.inside) accumulate(at.channel, at.rows(columns), sums);
  merge_depth(columns, at, sums);
  if (columns.splits > 1) {
    Sum* own = partials + static_cast<int64_t>(blockIdx.y) * columns.channels + at.channel;
    for (int v = 0; at.inside && at.depth == 0 && v < kVec; ++v) own[v] = sums[v];
    const Shared<int> flag = shared_memory<int>(1, columns.flag_offset<Sum>());
    if (!is_last_block(tickets + blockIdx.x, columns.splits, flag)) return;
    for (int v = 0; v < kVec; ++v) sums[v] = Sum();
    if (at.inside) merge_partials(columns, at, partials, sums);
    merge_depth(columns, at, sums);
  }
  // A thread for each channel.
  const Shared<Sum> totals = shared_memory<Sum>(columns.scratch_size());
  const int channels = columns.lanes * kVec;
  for (int v = 0; at.depth == 0 && v < kVec; ++v) totals[at.lane * kVec + v] = sums[v];
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x); c < channels; c += static_cast<int>(blockDim.x)) {
    const int64_t channel = int64_t{blockIdx.x} * channels + c;
    if (channel < columns.channels) finish(channel, totals[c]);
  }
}

// Two sums at once.
struct Sums {
  double first = 0;
  double second = 0;
  __device__ void add(double a, double b) {
    first += a;
    second += b;
  }
  __device__ void merge(const Sums& other) { add(other.first, other.second); }
};

#endif

}  // namespace adjoint::cuda
