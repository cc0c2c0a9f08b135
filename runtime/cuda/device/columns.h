// Reductions over the rows of a matrix [rows, channels], channels being the fastest axis, in two
// stages within one launch: each block reduces some rows, the last one combines their results in
// order. The same order every time.
//
//   reduce_columns<4>(columns, partials, tickets,
//                     [&](int64_t channel, RowRange rows, Sums (&sums)[4]) { ... },
//                     [&](int64_t channel, const Sums& total) { dscale[channel] = total.second; });
//
// Neighbouring threads have neighbouring channels, kVec each; the block's other threads take other
// rows. Launch with columns.reducing_shape<Sums>().
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
  int lanes = 1;   // threads side by side
  int depth = 1;   // threads one behind the other, each with its own rows
  int tiles = 1;   // of channels, each with its own blocks
  int splits = 1;  // blocks that share the rows of a tile

  static constexpr int kThreads = 256;

  // With `vec` channels for each thread; about `rows_each` rows for each, in at most `most_splits`.
  Columns(int64_t rows, int64_t channels, int vec, int64_t rows_each, int64_t most_splits)
      : rows(rows), channels(channels) {
    const int64_t packs = std::max<int64_t>(channels / vec, 1);
    tiles = static_cast<int>((packs + kThreads - 1) / kThreads);
    lanes = static_cast<int>((packs + tiles - 1) / tiles);
    depth = kThreads / lanes;
    const int64_t wanted = (rows + depth * rows_each - 1) / (depth * rows_each);
    splits = static_cast<int>(std::clamp<int64_t>(wanted, 1, most_splits));
  }

  // For a pass that reduces. A ticket for each tile; of more tiles each is one block's.
  static Columns to_reduce(int64_t rows, int64_t channels, int vec, int tickets) {
    constexpr int64_t kRowsEach = 16, kBlocks = 256;
    Columns columns(rows, channels, vec, kRowsEach, 1);
    const int64_t splits = columns.tiles > tickets ? 1 : kBlocks / columns.tiles;
    return Columns(rows, channels, vec, kRowsEach, splits);
  }
  // For a pass that writes each row.
  static Columns to_write(int64_t rows, int64_t channels, int vec) {
    constexpr int64_t kRowsEach = 4, kMostBlocks = 65535;
    return Columns(rows, channels, vec, kRowsEach, kMostBlocks);
  }

  LaunchShape shape() const { return {.grid = dim3(tiles, splits), .block = dim3(lanes * depth)}; }
  // A sum for each thread, and the flag of is_last_block.
  template <typename Sum>
  LaunchShape reducing_shape() const {
    LaunchShape result = shape();
    result.shared_bytes = flag_offset<Sum>() + sizeof(int);
    return result;
  }
  template <typename Sum>
  ADJOINT_HOST_DEVICE int flag_offset() const {
    return (static_cast<int>(sizeof(Sum)) * lanes * depth + 15) / 16 * 16;
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
  const int thread = static_cast<int>(threadIdx.x);
  const Shared<Sum> scratch = shared_memory<Sum>(columns.lanes * columns.depth);
  for (int v = 0; v < kVec; ++v) {
    scratch[thread] = sums[v];
    __syncthreads();
    for (int left = columns.depth; left > 1;) {
      const int half = (left + 1) / 2;
      if (at.depth + half < left) {
        Sum sum = scratch[thread];
        sum.merge(scratch[thread + half * columns.lanes]);
        scratch[thread] = sum;
      }
      __syncthreads();
      left = half;
    }
    sums[v] = scratch[thread];
    __syncthreads();
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
  const bool in_front = at.inside && at.depth == 0;
  if (columns.splits > 1) {
    Sum* own = partials + static_cast<int64_t>(blockIdx.y) * columns.channels + at.channel;
    for (int v = 0; in_front && v < kVec; ++v) own[v] = sums[v];
    const Shared<int> flag = shared_memory<int>(1, columns.flag_offset<Sum>());
    if (!is_last_block(tickets + blockIdx.x, columns.splits, flag)) return;
    for (int v = 0; v < kVec; ++v) {
      sums[v] = Sum();
      for (int i = at.depth; at.inside && i < columns.splits; i += columns.depth) {
        sums[v].merge(partials[i * columns.channels + at.channel + v]);
      }
    }
    merge_depth(columns, at, sums);
  }
  for (int v = 0; in_front && v < kVec; ++v) finish(at.channel + v, sums[v]);
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

// Count, mean, and the sum of the squared distances from the mean, merged by Chan's formula.
struct Moments {
  double count = 0;
  double mean = 0;
  double squares = 0;

  __device__ void merge(const Moments& other) {
    if (other.count == 0) return;
    if (count == 0) {
      *this = other;
      return;
    }
    const double total = count + other.count, distance = other.mean - mean;
    const double part = other.count / total;
    mean += distance * part;
    squares += other.squares + distance * distance * (count * part);
    count = total;
  }
  __device__ void add(double value) { merge(Moments{1, value, 0}); }
  __device__ void add(double a, double b, double c, double d) {
    const double middle = (a + b + c + d) * 0.25;
    a -= middle, b -= middle, c -= middle, d -= middle;
    merge(Moments{4, middle, a * a + b * b + c * c + d * d});
  }
  // Of the population; NaN of nothing.
  __device__ double variance() const { return squares / count; }
};

#endif

}  // namespace adjoint::cuda
