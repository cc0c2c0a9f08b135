// Means and variances of a result's channels, taken by the blocks that compute it
// (column_join.h):
//
//   ColumnPart part{.first = first_row[at.channel]};
//   for (int row = at.slice; at.is_inside() && row < rows; row += at.slices) part.add(...);
//   join_moments(block, groups, moments, part, offset);  // all threads of the block
#pragma once

#include "runtime/cuda/device/column_join.h"
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

// What a kernel is given: a bias that is added to all values, or none.
struct ColumnMoments {
  const float* bias;
  ColumnPart* parts;  // ColumnGroups::partial_bytes
  unsigned* tickets;
  float *mean, *variance;

  __device__ void store(int64_t channel, const ColumnPart& total) const {
    const double count = total.count, apart = total.sum / count;
    const double spread = (total.squares - total.sum * apart) / count;
    mean[channel] = static_cast<float>(static_cast<double>(total.first) + apart);
    variance[channel] = static_cast<float>(spread < 0 ? 0 : spread);
  }
};

__device__ inline void join_moments(const ColumnBlock& block, const ColumnGroups& groups,
                                    const ColumnMoments& moments, const ColumnPart& own,
                                    int offset) {
  join_columns(block, groups, moments.parts, own, offset,
               [&](int64_t channel, const ColumnPart& total) { moments.store(channel, total); });
}

}  // namespace adjoint::cuda
