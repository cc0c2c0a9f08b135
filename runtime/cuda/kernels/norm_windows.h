// The windows over which the kernels of batch normalisation pool.
//
//   const NormWindows windows(x_dims, &pool);
//   const X* from = x + first_pixel(windows, window) * channels;
#pragma once

#include <cstdint>
#include <vector>

#include "graph/host_device.h"
#include "ops/pool.h"
#include "runtime/cuda/device/pack.h"

namespace adjoint::cuda {

// The windows of a pool without padding over images [n,h,w,c], windows that do not overlap; without
// a pool each pixel is a window of its own. An image is cut into cells, one for each window and the
// pixels behind it that no window covers; cells at the ends may have no (whole) window.
struct NormWindows {
  int64_t pixels = 0;
  int64_t height = 1, width = 1;  // of an image
  int rows = 1, columns = 1;      // of windows
  int window_y = 1, window_x = 1;
  int stride_y = 1, stride_x = 1;
  int64_t windows = 0;
  int cell_rows = 1, cell_columns = 1;
  int64_t cells = 0;

  NormWindows(const std::vector<int64_t>& x, const PoolAttributes* pool) {
    pixels = 1;
    for (size_t axis = 0; axis + 1 < x.size(); ++axis) pixels *= x[axis];
    windows = cells = pixels;
    if (pool == nullptr) return;
    height = x[1];
    width = x[2];
    window_y = static_cast<int>(pool->window[0]);
    window_x = static_cast<int>(pool->window[1]);
    stride_y = static_cast<int>(pool->stride[0]);
    stride_x = static_cast<int>(pool->stride[1]);
    rows = static_cast<int>((height - window_y) / stride_y + 1);
    columns = static_cast<int>((width - window_x) / stride_x + 1);
    windows = x[0] * rows * columns;
    cell_rows = static_cast<int>((height + stride_y - 1) / stride_y);
    cell_columns = static_cast<int>((width + stride_x - 1) / stride_x);
    cells = x[0] * cell_rows * cell_columns;
  }
  // Whether each pixel is in a window.
  bool cover() const { return windows * window_y * window_x == pixels; }
  int taps() const { return window_y * window_x; }
  // The side that kernels know when they are compiled: 2 of windows of 2 x 2 that cover the images,
  // else 0.
  int known_side() const { return window_y == 2 && window_x == 2 && cover() ? 2 : 0; }
  // Whether they are such ones or pixels.
  bool are_known() const { return known_side() == 2 || windows == pixels; }
};

// Where a window begins, in pixels.
ADJOINT_HOST_DEVICE inline int64_t first_pixel(const NormWindows& w, int64_t window) {
  if (w.windows == w.pixels) return window;
  const Quotient row = divide(window, w.columns), image = divide(row.whole, w.rows);
  return (image.whole * w.height + image.rest * w.stride_y) * w.width + row.rest * w.stride_x;
}

}  // namespace adjoint::cuda
