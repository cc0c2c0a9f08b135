// The gradient of a convolution for its filter: a product of x's pixels, as the taps see them, with
// dy, summed over all pixels and images.
//
// A tile (tile.h) is a few rows [kw, channel] of the filter for one kh: neighbours in memory in x
// as well as in the filter. Each part of the batch has its own sum; the parts are added in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/cpu/kernels/conv/geometry.h"
#include "runtime/cpu/kernels/tile.h"
#include "runtime/cpu/threads.h"

namespace adjoint::cpu {

template <typename T>
class FilterGrad {
 public:
  explicit FilterGrad(const ConvGeometry& geometry);

  size_t workspace_bytes() const;
  void run(const T* x, const T* dy, T* filter, void* workspace, Threads& threads) const;

 private:
  // Neighbouring output columns where the same rows of a tile see pixels inside the image.
  struct Columns {
    int64_t first;
    int64_t count;
    int64_t row_begin;  // of [kw, channel]
    int64_t row_end;
  };
  using RowTile = std::vector<Columns>;
  // Rows of the filter that see pixels from the same rows of y, and are summed together.
  struct KernelRows {
    int64_t first;
    int64_t count;
  };
  void make_tiles();
  void group_kernel_rows();
  void add_tile(int64_t begin, int64_t end);
  void run_shard(int64_t shard, const T* x, const T* dy, T* sums) const;
  void make_runs(int64_t kh, int64_t images, int64_t columns, std::vector<Run>& runs) const;
  // Adds the products of some rows of a tile over the runs.
  void add_products(const Columns& columns, const KernelRows& kernel_rows, int64_t slice,
                    std::span<const Run> runs, const T* x, const T* dy, T* sum) const;

  int64_t panels() const { return (g_.y_group() + panel_ - 1) / panel_; }
  int64_t filter_size() const { return g_.taps() * g_.x_group() * g_.y_channels; }
  int64_t x_row() const { return g_.axes[1].x * g_.x_channels; }
  int64_t y_row() const { return g_.axes[1].y * g_.y_channels; }

  ConvGeometry g_;
  int64_t panel_ = 0;
  std::vector<RowTile> tiles_;
  std::vector<KernelRows> kernel_rows_;
  int64_t batch_parts_ = 1, unit_parts_ = 1;
  int64_t cached_images_ = 1;  // whose pixels stay in the second cache
};

extern template class FilterGrad<float>;
extern template class FilterGrad<double>;

}  // namespace adjoint::cpu
