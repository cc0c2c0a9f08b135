#include "runtime/cpu/kernels/conv/filter_grad.h"

#include <algorithm>

#include "runtime/cpu/kernels/stacked_tile.h"

namespace adjoint::cpu {
namespace {

constexpr int64_t kShards = 16;               // enough to balance a few threads
constexpr int64_t kPartialBytes = 1 << 20;    // of all partial sums
constexpr int64_t kCachedBytes = 160 * 1024;  // of the images that one pass goes over

int64_t ceil_of(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Where begin <= i < end holds for i = o * stride + offset.
struct Range {
  int64_t begin;
  int64_t end;
  bool operator==(const Range&) const = default;
};
Range inside(int64_t offset, int64_t stride, int64_t size, int64_t count) {
  const int64_t begin = offset >= 0 ? 0 : ceil_of(-offset, stride);
  const int64_t end = size > offset ? ceil_of(size - offset, stride) : 0;
  return {std::min(begin, count), std::clamp(end, std::min(begin, count), count)};
}

// The rows of y that meet pixels of x under one row of the filter.
Range rows_of(const ConvAxis& height, int64_t kh) {
  return inside(kh * height.dilation - height.pad, height.stride, height.x, height.y);
}

}  // namespace

template <typename T>
FilterGrad<T>::FilterGrad(const ConvGeometry& geometry) : g_(geometry) {
  const int64_t panels = ceil_of(g_.y_group(), kMaxPanel<T>);
  panel_ = ceil_of(ceil_of(g_.y_group(), panels), kHalfLanes<T>) * kHalfLanes<T>;
  make_tiles();
  group_kernel_rows();
  const auto bytes = static_cast<int64_t>(filter_size() * sizeof(T));
  const int64_t most = std::min(kShards, std::max<int64_t>(g_.batch, 1));
  batch_parts_ = std::clamp<int64_t>(kPartialBytes / std::max<int64_t>(bytes, 1), 1, most);
  const int64_t units = std::ssize(tiles_) * std::ssize(kernel_rows_) * g_.groups * panels;
  unit_parts_ = std::clamp<int64_t>(ceil_of(kShards, batch_parts_), 1, std::max<int64_t>(units, 1));
  const int64_t image = g_.axes[0].x * x_row() + g_.axes[0].y * y_row();
  cached_images_ = std::max<int64_t>(
      kCachedBytes / std::max<int64_t>(image * static_cast<int64_t>(sizeof(T)), 1), 1);
}

// Rows [kw, channel] are neighbours in x too where taps and channels are; else those of one kw are.
template <typename T>
void FilterGrad<T>::make_tiles() {
  const int most_rows = max_tile_rows(static_cast<int>(panel_ / kHalfLanes<T>));
  const bool joined = g_.groups == 1 && g_.axes[1].dilation == 1;
  const int64_t rows = g_.axes[1].filter * g_.x_group();
  // With padding a tile of one kw has no border of its own.
  const bool padded = g_.axes[1].pad > 0;
  const int64_t strip = joined && !(padded && g_.x_group() >= most_rows) ? rows : g_.x_group();
  for (int64_t first = 0; first < rows; first += strip) {
    const int64_t parts = ceil_of(strip, most_rows);
    for (int64_t part = 0; part < parts; ++part) {
      add_tile(first + shard_begin(strip, parts, part),
               first + shard_begin(strip, parts, part + 1));
    }
  }
}

template <typename T>
void FilterGrad<T>::add_tile(int64_t begin, int64_t end) {
  const ConvAxis& axis = g_.axes[1];
  const int64_t channels = g_.x_group();
  RowTile tile;
  for (int64_t column = 0; column < axis.y; ++column) {
    // The taps that see pixels from this column.
    const Range taps = inside(column * axis.stride - axis.pad, axis.dilation, axis.x, axis.filter);
    const int64_t row_begin = std::max(begin, taps.begin * channels);
    const int64_t row_end = std::min(end, taps.end * channels);
    if (row_begin >= row_end) continue;
    if (!tile.empty() && tile.back().first + tile.back().count == column &&
        tile.back().row_begin == row_begin && tile.back().row_end == row_end) {
      ++tile.back().count;
    } else {
      tile.push_back({column, 1, row_begin, row_end});
    }
  }
  if (!tile.empty()) tiles_.push_back(std::move(tile));
}

template <typename T>
void FilterGrad<T>::group_kernel_rows() {
  int64_t most_rows = 1;
  for (const RowTile& tile : tiles_) {
    for (const Columns& c : tile) most_rows = std::max(most_rows, c.row_end - c.row_begin);
  }
  const bool narrow = panel_halves<T>(g_.y_group()) == 1;
  const int most = narrow ? max_stacks(static_cast<int>(most_rows)) : 1;
  const ConvAxis& height = g_.axes[0];
  for (int64_t kh = 0; kh < height.filter; ++kh) {
    const bool joins = !kernel_rows_.empty() && kernel_rows_.back().count < most &&
                       rows_of(height, kh) == rows_of(height, kernel_rows_.back().first);
    if (joins) {
      ++kernel_rows_.back().count;
    } else {
      kernel_rows_.push_back({kh, 1});
    }
  }
}

template <typename T>
size_t FilterGrad<T>::workspace_bytes() const {
  return batch_parts_ == 1 ? 0 : batch_parts_ * filter_size() * sizeof(T);
}

// The runs along the rows of y that meet pixels, for one kh, from the first of some columns on.
template <typename T>
void FilterGrad<T>::make_runs(int64_t kh, int64_t images, int64_t columns,
                              std::vector<Run>& runs) const {
  const ConvAxis& height = g_.axes[0];
  const int64_t top = kh * height.dilation - height.pad;
  const Range rows = rows_of(height, kh);
  runs.clear();
  for (int64_t image = 0; image < images; ++image) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int64_t x_at = image * height.x + row * height.stride + top;
      const int64_t y_at = image * height.y + row;
      runs.push_back({.a = x_at * x_row(), .b = y_at * y_row(), .length = columns});
    }
  }
}

template <typename T>
void FilterGrad<T>::add_products(const Columns& columns, const KernelRows& kernel_rows,
                                 int64_t slice, std::span<const Run> runs, const T* x, const T* dy,
                                 T* sum) const {
  const ConvAxis& width = g_.axes[1];
  const int64_t group = slice / panels(), channel = slice % panels() * panel_;
  const int64_t y_channel = group * g_.y_group() + channel;
  const int64_t kw = columns.row_begin / g_.x_group();
  const int64_t x_channel = group * g_.x_group() + columns.row_begin % g_.x_group();
  const int64_t left = columns.first * width.stride + kw * width.dilation - width.pad;
  const int64_t kernel_row = width.filter * g_.x_group();
  const int64_t row = kernel_rows.first * kernel_row + columns.row_begin;
  StackedCall<T> call{};
  call.a = x + left * g_.x_channels + x_channel;
  call.row = 1;
  call.step = width.stride * g_.x_channels;
  call.b = dy + columns.first * g_.y_channels + y_channel;
  call.pitch = g_.y_channels;
  call.runs = runs;
  call.c = sum + row * g_.y_channels + y_channel;
  call.c_row = g_.y_channels;
  call.columns = static_cast<int>(std::min(panel_, g_.y_group() - channel));
  call.b_columns = call.columns;
  call.accumulate = true;
  const int rows = static_cast<int>(columns.row_end - columns.row_begin);
  if (kernel_rows.count == 1) {
    tile_for<T>(rows, panel_halves<T>(call.columns))(call);
    return;
  }
  call.stack = g_.axes[0].dilation * x_row();
  call.c_stack = kernel_row * g_.y_channels;
  stacked_tile_for<T>(rows, static_cast<int>(kernel_rows.count))(call);
}

template <typename T>
void FilterGrad<T>::run_shard(int64_t shard, const T* x, const T* dy, T* sums) const {
  const int64_t part = shard / unit_parts_, unit_part = shard % unit_parts_;
  const int64_t tiles = std::ssize(tiles_), kernel_rows = std::ssize(kernel_rows_);
  const int64_t units = g_.groups * panels() * kernel_rows * tiles;
  const int64_t x_image = g_.axes[0].x * x_row(), y_image = g_.axes[0].y * y_row();
  const int64_t end = shard_begin(g_.batch, batch_parts_, part + 1);
  std::vector<Run> runs;
  for (int64_t image = shard_begin(g_.batch, batch_parts_, part); image < end;
       image += cached_images_) {
    const int64_t images = std::min(cached_images_, end - image);
    int64_t runs_kh = -1;  // what the runs are for
    for (int64_t unit = shard_begin(units, unit_parts_, unit_part);
         unit < shard_begin(units, unit_parts_, unit_part + 1); ++unit) {
      const KernelRows& rows = kernel_rows_[unit / tiles % kernel_rows];
      const int64_t slice = unit / tiles / kernel_rows;
      for (const Columns& columns : tiles_[unit % tiles]) {
        if (runs_kh != rows.first || runs.empty() || runs[0].length != columns.count) {
          make_runs(rows.first, images, columns.count, runs);
          runs_kh = rows.first;
        }
        add_products(columns, rows, slice, runs, x + image * x_image, dy + image * y_image,
                     sums + part * filter_size());
      }
    }
  }
}

template <typename T>
void FilterGrad<T>::run(const T* x, const T* dy, T* filter, void* workspace,
                        Threads& threads) const {
  const int64_t size = filter_size();
  T* sums = batch_parts_ == 1 ? filter : static_cast<T*>(workspace);
  const int64_t pieces = shard_count(size * batch_parts_, 1 << 14);
  threads.parallel_for(pieces, [&](int64_t piece) {
    const int64_t begin = shard_begin(size * batch_parts_, pieces, piece);
    std::fill(sums + begin, sums + shard_begin(size * batch_parts_, pieces, piece + 1), T{});
  });
  threads.parallel_for(batch_parts_ * unit_parts_,
                       [&](int64_t shard) { run_shard(shard, x, dy, sums); });
  if (batch_parts_ == 1) return;
  threads.parallel_for(pieces, [&](int64_t piece) {
    const int64_t begin = shard_begin(size, pieces, piece);
    const int64_t count = shard_begin(size, pieces, piece + 1) - begin;
    std::copy_n(sums + begin, count, filter + begin);
    for (int64_t part = 1; part < batch_parts_; ++part) {
      const T* from = sums + part * size + begin;
      for (int64_t i = 0; i < count; ++i) filter[begin + i] += from[i];
    }
  });
}

template class FilterGrad<float>;
template class FilterGrad<double>;

}  // namespace adjoint::cpu
