// Reductions over the rows of a matrix [rows, channels], channels being the fastest axis, in one
// launch: each block reduces some rows, and what they have is joined (column_join.h).
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
#include "runtime/cuda/device/column_join.h"

namespace adjoint::cuda {

struct Columns {
  int64_t rows = 0;
  int64_t channels = 0;
  int vec = 1;     // channels of a thread
  int lanes = 1;   // threads side by side
  int depth = 1;   // threads one behind the other, each with its own rows
  int tiles = 1;   // of channels, each with its own blocks
  int splits = 1;  // blocks that share the rows of a tile
  ColumnGroups groups{1, 1, 1};

  static constexpr int kThreads = 256, kMostThreads = 512;
  static constexpr int kReads = 4;  // of a thread of a pass that reduces, all under way at once

  // About `rows_each` rows for each thread, in at most `most_splits`. The lanes of a tile read a
  // cache line or two of each row: narrow tiles make for more blocks.
  Columns(int64_t rows, int64_t channels, int vec, int64_t rows_each, int64_t most_splits)
      : rows(rows), channels(channels), vec(vec) {
    cut(vec == 1 ? 32 : 8, kThreads);
    const int64_t wanted = (rows + depth * rows_each - 1) / (depth * rows_each);
    splits = static_cast<int>(std::clamp<int64_t>(wanted, 1, most_splits));
  }

  // For a pass that reduces, with so many packs to read in each row: four for a thread, or as many
  // as keep the blocks at what a large GPU runs at a time. A ticket for each tile; of more tiles
  // each is one block's.
  static Columns to_reduce(int64_t rows, int64_t channels, int vec, int tickets, int reads = 1) {
    constexpr int64_t kBlocks = 256;
    const int64_t rows_each = std::max(kReads / reads, 1);
    const Columns one(rows, channels, vec, rows_each, 1);
    const int64_t splits = one.tiles > tickets ? 1 : std::max<int64_t>(kBlocks / one.tiles, 1);
    Columns result(rows, channels, vec, rows_each, splits);
    result.groups = ColumnGroups(result.splits, result.tiles, tickets);
    return result;
  }
  // For a pass in which a block has all rows of its channels, if it can: where those are many, it
  // is large and its tile as narrow as 16 bytes of what is computed with, `pack` channels.
  static Columns in_one(int64_t rows, int64_t channels, int vec, int pack) {
    Columns result(rows, channels, vec, kReads, 1);
    if (!result.fit_in_one()) result.cut(pack / vec, kMostThreads);
    return result;
  }
  bool fit_in_one() const { return splits == 1 && rows <= int64_t{kReads} * depth; }

  // For a pass that writes each row: a row for each thread, or up to four once there are blocks
  // enough.
  static Columns to_write(int64_t rows, int64_t channels, int vec) {
    constexpr int64_t kRowsEach = 4, kBlocks = 512, kMostSplits = 65535;
    const Columns few(rows, channels, vec, kRowsEach, kMostSplits);
    const int64_t splits = std::max<int64_t>(kBlocks / few.tiles, few.splits);
    return Columns(rows, channels, vec, 1, splits);
  }

  LaunchShape shape() const { return {.grid = dim3(tiles, splits), .block = dim3(lanes * depth)}; }
  // What all threads have, and what the blocks are joined in.
  template <typename Sum>
  LaunchShape reducing_shape() const {
    LaunchShape result = shape();
    result.shared_bytes = table_bytes<Sum>() + column_scratch_bytes<Sum>(lanes * depth);
    return result;
  }
  template <typename Sum>
  ADJOINT_HOST_DEVICE int table_bytes() const {
    return (static_cast<int>(sizeof(Sum)) * vec * lanes * depth + 15) / 16 * 16;
  }
  template <typename Sum>
  size_t partial_bytes() const {
    return groups.partial_bytes<Sum>(channels);
  }

 private:
  // Into tiles of at most so many lanes.
  void cut(int64_t most_lanes, int threads) {
    const int64_t packs = std::max<int64_t>(channels / vec, 1);
    tiles = static_cast<int>((packs + most_lanes - 1) / most_lanes);
    lanes = static_cast<int>((packs + tiles - 1) / tiles);
    depth = threads / lanes;
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

// What each thread of a block has of its kVec channels, in shared memory.
template <int kVec, typename Sum>
class ColumnTable {
 public:
  __device__ explicit ColumnTable(const Columns& columns)
      : threads_(columns.lanes * columns.depth), sums_(shared_memory<Sum>(kVec * threads_)) {}
  __device__ void put(int v, const Sum& sum) const {
    sums_[v * threads_ + static_cast<int>(threadIdx.x)] = sum;
  }
  // Called when all have put theirs; see reduce_columns.
  template <typename Finish>
  __device__ bool reduce(const Columns& columns, Sum* partials, unsigned* tickets,
                         Finish finish) const {
    __syncthreads();
    const int width = columns.lanes * kVec;
    const int64_t first = int64_t{blockIdx.x} * width;
    const ColumnBlock block = {
        .number = static_cast<int>(blockIdx.y),
        .first = first,
        .channels = static_cast<int>(min(int64_t{width}, columns.channels - first)),
        .all = columns.channels,
        .tickets = columns.splits == 1
                       ? nullptr
                       : tickets + static_cast<int>(blockIdx.x) * columns.groups.tickets()};
    const ColumnSlice slice(block.channels);
    Sum own;
    const int column = slice.channel % kVec * threads_ + slice.channel / kVec;
    for (int d = slice.slice; slice.is_inside() && d < columns.depth; d += slice.slices) {
      own.merge(sums_[column + d * columns.lanes]);
    }
    return join_columns(block, columns.groups, partials, own, columns.table_bytes<Sum>(), finish);
  }

 private:
  int threads_;
  Shared<Sum> sums_;
};

// Sum() is the sum of nothing, and sum.merge(other) adds. accumulate(channel, rows, sums) adds a
// thread's rows; finish(channel, sum) gets each channel's result once. `partials` holds
// columns.partial_bytes<Sum>(); where a block has all rows, neither it nor tickets are used. Only
// the block that finishes a channel gets true; there, all threads see what finish has written.
template <int kVec, typename Sum, typename Accumulate, typename Finish>
__device__ inline bool reduce_columns(const Columns& columns, Sum* partials, unsigned* tickets,
                                      Accumulate accumulate, Finish finish) {
  const ColumnPlace<kVec> at(columns);
  const ColumnTable<kVec, Sum> table(columns);
  Sum sums[kVec] = {};
  if (at.inside) accumulate(at.channel, at.rows(columns), sums);
  for (int v = 0; v < kVec; ++v) table.put(v, sums[v]);
  return table.reduce(columns, partials, tickets, finish);
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
