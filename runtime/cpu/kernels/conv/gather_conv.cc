#include "runtime/cpu/kernels/conv/gather_conv.h"

#include <algorithm>

#include "runtime/cpu/kernels/transpose.h"

namespace adjoint::cpu {
namespace {

constexpr int64_t kImages = 16;  // of a block
constexpr int64_t kShards = 16;  // enough to balance a few threads

int64_t ceil_of(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Calls tile(first, rows) for parts of `count`, as equal as can be, of at most `most` each.
template <typename Tile>
void split_evenly(int64_t count, int64_t most, Tile tile) {
  const int64_t parts = ceil_of(count, most);
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t first = shard_begin(count, parts, part);
    tile(first, static_cast<int>(shard_begin(count, parts, part + 1) - first));
  }
}

// Whether b's taps are a's, `shift` pixels further.
bool is_moved(const std::vector<Tap>& a, const std::vector<Tap>& b, int64_t shift) {
  return std::ranges::equal(a, b, [shift](const Tap& p, const Tap& q) {
    return p.tap == q.tap && p.source + shift == q.source;
  });
}

}  // namespace

template <typename T>
GatherConv<T>::GatherConv(const ConvGeometry& g, Direction direction)
    : batch_(g.batch),
      groups_(g.groups),
      taps_(g.taps()),
      filter_width_(g.axes[1].filter),
      backward_(direction == Direction::backward) {
  const auto& [height, width] = g.axes;
  const int64_t x_image = height.x * width.x * g.x_channels;
  const int64_t y_image = height.y * width.y * g.y_channels;
  if (backward_) {
    in_width_ = width.y, out_height_ = height.x, out_width_ = width.x;
    in_channels_ = g.y_channels, in_group_ = g.y_group();
    out_channels_ = g.x_channels, out_group_ = g.x_group();
    in_image_ = y_image, out_image_ = x_image;
    step_ = width.stride;
    rows_ = backward_taps(height);
    find_columns(backward_taps(width));
  } else {
    in_width_ = width.x, out_height_ = height.y, out_width_ = width.y;
    in_channels_ = g.x_channels, in_group_ = g.x_group();
    out_channels_ = g.y_channels, out_group_ = g.y_group();
    in_image_ = x_image, out_image_ = y_image;
    shift_ = width.stride;
    rows_ = forward_taps(height);
    find_columns(forward_taps(width));
  }
  // Panels as equal as can be, of whole vectors but for a half at the end.
  const int64_t panels = ceil_of(out_group_, kMaxPanel<T>);
  panel_ = ceil_of(ceil_of(out_group_, panels), kHalfLanes<T>) * kHalfLanes<T>;
  choose_shards();
}

template <typename T>
void GatherConv<T>::find_columns(const AxisTaps& taps) {
  const auto size = static_cast<int64_t>(taps.size());
  for (int64_t residue = 0; residue < std::min(step_, size); ++residue) {
    for (int64_t column = residue; column < size; column += step_) {
      const bool follows = column > residue && is_moved(taps[column - step_], taps[column], shift_);
      if (follows) {
        ++columns_.back().count;
      } else {
        columns_.push_back({column, 1, taps[column]});
      }
    }
  }
}

template <typename T>
void GatherConv<T>::choose_shards() {
  image_blocks_ = ceil_of(batch_, kImages);
  if (image_blocks_ == 0) return;
  row_parts_ =
      std::clamp(ceil_of(kShards, image_blocks_), int64_t{1}, std::max<int64_t>(out_height_, 1));
}

template <typename T>
size_t GatherConv<T>::workspace_bytes() const {
  return groups_ * panels() * taps_ * in_group_ * panel_ * sizeof(T);
}

// One tap of one panel: [in_group, width], zeros behind the last channel.
template <typename T>
void GatherConv<T>::pack(int64_t unit, const T* filter, T* packed) const {
  const int64_t tap = unit % taps_;
  const int64_t panel = unit / taps_ % panels();
  const int64_t group = unit / taps_ / panels();
  const int64_t first = panel * panel_;
  const int64_t columns = std::min(panel_, out_group_ - first);
  T* to = packed + unit * in_group_ * panel_;
  if (columns < panel_) std::fill_n(to, in_group_ * panel_, T{});
  if (backward_) {
    // filter[tap, out_group, group * in_group + i], the taps from the end.
    const T* from =
        filter + ((taps_ - 1 - tap) * out_group_ + first) * in_channels_ + group * in_group_;
    transpose_into(from, in_channels_, columns, in_group_, to, panel_);
  } else {
    const T* from = filter + tap * in_group_ * out_channels_ + group * out_group_ + first;
    for (int64_t i = 0; i < in_group_; ++i) {
      std::copy_n(from + i * out_channels_, columns, to + i * panel_);
    }
  }
}

// The runs of the pixel in this row and the first of the columns: from an image's first element of
// the group. Neighbouring taps that meet neighbouring pixels make one run.
template <typename T>
void GatherConv<T>::runs_of(const std::vector<Tap>& row, const Columns& columns, int64_t width,
                            std::vector<Run>& runs) const {
  runs.clear();
  for (const Tap& r : row) {
    for (const Tap& c : columns.taps) {
      const Run run{.a = (r.source * in_width_ + c.source) * in_channels_,
                    .b = (r.tap * filter_width_ + c.tap) * in_group_ * width,
                    .length = in_group_};
      if (!runs.empty() && runs.back().a + runs.back().length == run.a &&
          runs.back().b + runs.back().length * width == run.b) {
        runs.back().length += run.length;
      } else {
        runs.push_back(run);
      }
    }
  }
}

template <typename T>
void GatherConv<T>::run_shard(int64_t shard, const T* in, const T* packed, T* out) const {
  const int64_t block = shard / row_parts_, part = shard % row_parts_;
  const int64_t first_image = shard_begin(batch_, image_blocks_, block);
  const int64_t images = shard_begin(batch_, image_blocks_, block + 1) - first_image;
  std::vector<Run> runs;
  for (int64_t slice = 0; slice < groups_ * panels(); ++slice) {
    const int64_t group = slice / panels(), channel = slice % panels() * panel_;
    TileCall<T> call{};
    call.step = 1;
    call.b = packed + slice * taps_ * in_group_ * panel_;
    call.pitch = panel_;
    call.columns = static_cast<int>(std::min(panel_, out_group_ - channel));
    const int halves = panel_halves<T>(call.columns);
    const int most_rows = max_tile_rows(halves);
    call.b_columns = halves * kHalfLanes<T>;
    const T* in_block = in + first_image * in_image_ + group * in_group_;
    T* out_block = out + first_image * out_image_ + group * out_group_ + channel;
    for (int64_t row = shard_begin(out_height_, row_parts_, part);
         row < shard_begin(out_height_, row_parts_, part + 1); ++row) {
      for (const Columns& columns : columns_) {
        runs_of(rows_[row], columns, panel_, runs);
        call.runs = runs;
        T* to = out_block + (row * out_width_ + columns.first) * out_channels_;
        if (2 * columns.count >= most_rows || columns.count >= images) {
          call.row = shift_ * in_channels_;
          call.c_row = step_ * out_channels_;
          for (int64_t image = 0; image < images; ++image) {
            split_evenly(columns.count, most_rows, [&](int64_t first, int rows) {
              call.a = in_block + image * in_image_ + first * call.row;
              call.c = to + image * out_image_ + first * call.c_row;
              tile_for<T>(rows, halves)(call);
            });
          }
        } else {
          call.row = in_image_;
          call.c_row = out_image_;
          for (int64_t column = 0; column < columns.count; ++column) {
            split_evenly(images, most_rows, [&](int64_t first, int rows) {
              call.a = in_block + first * in_image_ + column * shift_ * in_channels_;
              call.c = to + first * out_image_ + column * step_ * out_channels_;
              tile_for<T>(rows, halves)(call);
            });
          }
        }
      }
    }
  }
}

template <typename T>
void GatherConv<T>::run(const T* in, const T* filter, T* out, void* workspace,
                        Threads& threads) const {
  T* packed = static_cast<T*>(workspace);
  const int64_t units = groups_ * panels() * taps_;
  const int64_t shards = shard_count(units * in_group_ * panel_, 4096);
  threads.parallel_for(std::min(shards, units), [&](int64_t shard) {
    const int64_t parts = std::min(shards, units);
    for (int64_t unit = shard_begin(units, parts, shard);
         unit < shard_begin(units, parts, shard + 1); ++unit) {
      pack(unit, filter, packed);
    }
  });
  threads.parallel_for(image_blocks_ * row_parts_,
                       [&](int64_t shard) { run_shard(shard, in, packed, out); });
}

template class GatherConv<float>;
template class GatherConv<double>;

}  // namespace adjoint::cpu
