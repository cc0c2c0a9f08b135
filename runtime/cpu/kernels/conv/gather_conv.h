// Convolutions that gather: every output pixel is summed up in registers from the pixels that its
// taps meet. The forward convolution is one of x, the input's gradient one of dy with the filter
// turned round.
//
// A tile (tile.h) is a few output pixels that meet the same taps: neighbours in a row or, where
// padding or strides make neighbours differ, the same pixel of several images. So no tap is wasted
// on padding, and no input is copied. Neighbours of few channels have tiles of their own
// (sliding_tile.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/cpu/kernels/conv/geometry.h"
#include "runtime/cpu/kernels/tile.h"
#include "runtime/cpu/threads.h"

namespace adjoint::cpu {

template <typename T>
class GatherConv {
 public:
  enum class Direction { forward, backward };

  GatherConv(const ConvGeometry& geometry, Direction direction);

  size_t workspace_bytes() const;  // for the filter in panels
  // in [batch,h,w,c] (x, or dy) and filter -> out (y, or dx).
  void run(const T* in, const T* filter, T* out, void* workspace, Threads& threads) const;

 private:
  // Output columns first, first + step, ... that meet the same taps, moved on by `shift` pixels.
  struct Columns {
    int64_t first;
    int64_t count;
    std::vector<Tap> taps;  // of the first one
  };
  void find_columns(const AxisTaps& taps);
  void choose_shards();
  void pack(int64_t unit, const T* filter, T* packed) const;
  void run_shard(int64_t shard, const T* in, const T* packed, T* out) const;
  void run_tiles(const Columns& columns, int64_t images, int halves, TileCall<T> call) const;
  struct Dimension {
    int64_t count;
    ptrdiff_t in, out;  // from one to the next
  };
  static void run_sliding_tiles(const Dimension& columns, const Dimension& images, int64_t taps,
                                const TileCall<T>& first);
  void runs_of(const std::vector<Tap>& row, const Columns& columns, int64_t width,
               std::vector<Run>& runs) const;

  int64_t panels() const { return (out_group_ + panel_ - 1) / panel_; }

  // Sizes in pixels, channels or elements.
  int64_t batch_, in_width_, out_height_, out_width_;
  int64_t in_channels_, in_group_, out_channels_, out_group_;
  int64_t in_image_, out_image_;
  int64_t groups_, taps_, filter_width_;
  bool backward_;
  int64_t step_ = 1;   // from column to column of the output
  int64_t shift_ = 1;  // and of the input, in a tile of neighbours
  AxisTaps rows_;
  std::vector<Columns> columns_;
  int64_t panel_ = 0;  // output channels of a panel
  int64_t image_blocks_ = 1, row_parts_ = 1;
};

extern template class GatherConv<float>;
extern template class GatherConv<double>;

}  // namespace adjoint::cpu
