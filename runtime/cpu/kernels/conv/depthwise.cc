#include "runtime/cpu/kernels/conv/depthwise.h"

#include <algorithm>

#include "runtime/cpu/kernels/channel_vectors.h"

namespace adjoint::cpu {
namespace {

constexpr int64_t kShards = 32;

// out[pixel] = sum over its taps of in[source] * filter[tap]; `flipped`: taps count from the end.
template <typename T>
void gather(const ConvGeometry& g, const AxisTaps& rows, const AxisTaps& columns, int64_t in_height,
            int64_t in_width, bool flipped, const T* in, const T* filter, T* out,
            Threads& threads) {
  const int64_t channels = g.x_channels, taps = g.taps();
  const auto height = static_cast<int64_t>(rows.size());
  const auto width = static_cast<int64_t>(columns.size());
  const int64_t lines = g.batch * height;
  const int64_t shards = shard_count(lines, 1, kShards);
  threads.parallel_for(shards, [&](int64_t shard) {
    for (int64_t line = shard_begin(lines, shards, shard);
         line < shard_begin(lines, shards, shard + 1); ++line) {
      const T* image = in + line / height * in_height * in_width * channels;
      for (int64_t column = 0; column < width; ++column) {
        T* to = out + (line * width + column) * channels;
        for_channels<T>(0, channels, [&](int64_t c, auto load_part, auto store_part) {
          Vec<T> sum{};
          for (const Tap& r : rows[line % height]) {
            for (const Tap& s : columns[column]) {
              const int64_t tap = r.tap * g.axes[1].filter + s.tap;
              const int64_t weight = (flipped ? taps - 1 - tap : tap) * channels + c;
              const int64_t pixel = (r.source * in_width + s.source) * channels + c;
              sum += load_part(image + pixel) * load_part(filter + weight);
            }
          }
          store_part(to + c, sum);
        });
      }
    }
  });
}

int64_t parts_of(const ConvGeometry& g) { return std::clamp<int64_t>(g.batch, 1, 16); }

// Sums over the images first .. last - 1.
template <typename T>
void add_images(const ConvGeometry& g, const AxisTaps& rows, const AxisTaps& columns, int64_t first,
                int64_t last, const T* x, const T* dy, T* sums) {
  const auto& [height, width] = g.axes;
  const int64_t channels = g.x_channels;
  for (int64_t image = first; image < last; ++image) {
    for (int64_t row = 0; row < height.y; ++row) {
      for (const Tap& r : rows[row]) {
        const T* x_row = x + (image * height.x + r.source) * width.x * channels;
        for (int64_t column = 0; column < width.y; ++column) {
          const T* from = dy + ((image * height.y + row) * width.y + column) * channels;
          for (const Tap& s : columns[column]) {
            T* to = sums + (r.tap * width.filter + s.tap) * channels;
            const T* pixel = x_row + s.source * channels;
            for (int64_t c = 0; c < channels; ++c) to[c] += pixel[c] * from[c];
          }
        }
      }
    }
  }
}

}  // namespace

template <typename T>
void depthwise_forward(const ConvGeometry& g, const T* x, const T* filter, T* y, Threads& threads) {
  gather(g, forward_taps(g.axes[0]), forward_taps(g.axes[1]), g.axes[0].x, g.axes[1].x, false, x,
         filter, y, threads);
}

template <typename T>
void depthwise_input_grad(const ConvGeometry& g, const T* dy, const T* filter, T* dx,
                          Threads& threads) {
  gather(g, backward_taps(g.axes[0]), backward_taps(g.axes[1]), g.axes[0].y, g.axes[1].y, true, dy,
         filter, dx, threads);
}

size_t depthwise_filter_grad_workspace(const ConvGeometry& g, size_t element_size) {
  return parts_of(g) * g.taps() * g.x_channels * element_size;
}

template <typename T>
void depthwise_filter_grad(const ConvGeometry& g, const T* x, const T* dy, T* filter,
                           void* workspace, Threads& threads) {
  const AxisTaps rows = forward_taps(g.axes[0]), columns = forward_taps(g.axes[1]);
  const int64_t parts = parts_of(g), size = g.taps() * g.x_channels;
  T* sums = static_cast<T*>(workspace);
  threads.parallel_for(parts, [&](int64_t part) {
    std::fill_n(sums + part * size, size, T{});
    add_images(g, rows, columns, shard_begin(g.batch, parts, part),
               shard_begin(g.batch, parts, part + 1), x, dy, sums + part * size);
  });
  for (int64_t i = 0; i < size; ++i) {
    T total = 0;
    for (int64_t part = 0; part < parts; ++part) total += sums[part * size + i];
    filter[i] = total;
  }
}

template void depthwise_forward(const ConvGeometry&, const float*, const float*, float*, Threads&);
template void depthwise_forward(const ConvGeometry&, const double*, const double*, double*,
                                Threads&);
template void depthwise_input_grad(const ConvGeometry&, const float*, const float*, float*,
                                   Threads&);
template void depthwise_input_grad(const ConvGeometry&, const double*, const double*, double*,
                                   Threads&);
template void depthwise_filter_grad(const ConvGeometry&, const float*, const float*, float*, void*,
                                    Threads&);
template void depthwise_filter_grad(const ConvGeometry&, const double*, const double*, double*,
                                    void*, Threads&);

}  // namespace adjoint::cpu
