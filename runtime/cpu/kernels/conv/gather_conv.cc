#include "runtime/cpu/kernels/conv/gather_conv.h"

#include <algorithm>

#include "runtime/cpu/kernels/sliding_tile.h"
#include "runtime/cpu/kernels/transpose.h"

namespace adjoint::cpu {
namespace {

constexpr int64_t kBlockBytes = 448 * 1024;  // of a block of images: they stay in the second cache
constexpr int64_t kLeastImages = 8;          // of a block
constexpr int64_t kShards = 16;              // enough to balance a few threads

int64_t ceil_of(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Whether b's taps are a's, `shift` pixels further.
bool is_moved(const std::vector<Tap>& a, const std::vector<Tap>& b, int64_t shift) {
  return std::ranges::equal(a, b, [shift](const Tap& p, const Tap& q) {
    return p.tap == q.tap && p.source + shift == q.source;
  });
}

// The size of parts of `count`, as few and as equal as can be, of at most `most` each.
int64_t part_size(int64_t count, int64_t most) { return ceil_of(count, ceil_of(count, most)); }

// The taps in each of the filter's rows, if each run goes over as many pixels; otherwise 0.
int64_t taps_of_all(std::span<const Run> runs, int64_t pixel) {
  const int64_t length = runs.empty() ? 0 : runs[0].length;
  const bool equal = std::ranges::all_of(runs, [=](const Run& r) { return r.length == length; });
  return equal && length % pixel == 0 ? length / pixel : 0;
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
  const auto image_bytes = static_cast<int64_t>((in_image_ + out_image_) * sizeof(T));
  const int64_t images = kBlockBytes / std::max<int64_t>(image_bytes, 1);
  image_blocks_ = ceil_of(batch_, std::clamp<int64_t>(images, kLeastImages, kMaxTileRows));
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

// `call` has the runs, and the first image and column. The rows of a tile are neighbouring columns
// or, where few of those meet the same taps, one pixel of several images.
template <typename T>
void GatherConv<T>::run_tiles(const Columns& columns, int64_t images, int halves,
                              TileCall<T> call) const {
  const Dimension across_columns{columns.count, shift_ * in_channels_, step_ * out_channels_};
  const Dimension across_images{images, in_image_, out_image_};
  const int64_t taps = halves == 1 ? taps_of_all(call.runs, across_columns.in) : 0;
  if (columns.count > 1 && sliding_tile_for<T>(1, true, taps) != nullptr) {
    run_sliding_tiles(across_columns, across_images, taps, call);
    return;
  }
  const int most_rows = max_tile_rows(halves);
  const bool neighbours = 2 * columns.count >= most_rows || columns.count >= images;
  const Dimension& along = neighbours ? across_columns : across_images;
  const Dimension& across = neighbours ? across_images : across_columns;
  call.row = along.in;
  call.c_row = along.out;
  const int64_t part = part_size(along.count, most_rows), rest = along.count % part;
  const Tile<T> tile = tile_for<T>(static_cast<int>(part), halves);
  const Tile<T> last_tile = rest ? tile_for<T>(static_cast<int>(rest), halves) : nullptr;
  const T* in = call.a;
  T* out = call.c;
  for (int64_t i = 0; i < across.count; ++i, in += across.in, out += across.out) {
    call.a = in;
    call.c = out;
    for (int64_t k = part; k <= along.count; k += part) {
      tile(call);
      call.a += part * along.in;
      call.c += part * along.out;
    }
    if (rest) last_tile(call);
  }
}

template <typename T>
void GatherConv<T>::run_sliding_tiles(const Dimension& columns, const Dimension& images,
                                      int64_t taps, const TileCall<T>& first) {
  SlidingCall<T> call{first, images.in, images.out};
  call.row = columns.in;
  call.c_row = columns.out;
  const int64_t part = part_size(columns.count, kMaxTileRows);
  for (int64_t column = 0; column < columns.count; column += part) {
    const int rows = static_cast<int>(std::min(part, columns.count - column));
    const int several = max_sliding_images(rows);
    for (int64_t image = 0; image < images.count;) {
      const bool one = images.count - image < several;
      call.a = first.a + image * images.in + column * columns.in;
      call.c = first.c + image * images.out + column * columns.out;
      sliding_tile_for<T>(rows, one, taps)(call);
      image += one ? 1 : several;
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
    call.a = in + first_image * in_image_ + group * in_group_;
    call.b = packed + slice * taps_ * in_group_ * panel_;
    call.pitch = panel_;
    call.columns = static_cast<int>(std::min(panel_, out_group_ - channel));
    const int halves = panel_halves<T>(call.columns);
    call.b_columns = halves * kHalfLanes<T>;
    T* out_block = out + first_image * out_image_ + group * out_group_ + channel;
    for (int64_t row = shard_begin(out_height_, row_parts_, part);
         row < shard_begin(out_height_, row_parts_, part + 1); ++row) {
      for (const Columns& columns : columns_) {
        runs_of(rows_[row], columns, panel_, runs);
        call.runs = runs;
        call.c = out_block + (row * out_width_ + columns.first) * out_channels_;
        run_tiles(columns, images, halves, call);
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
