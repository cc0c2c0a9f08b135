// Kernels of max_pool and avg_pool and of their gradients: loops over windows in vectors of
// channels.
#include <algorithm>
#include <array>
#include <vector>

#include "ops/pool.h"
#include "runtime/cpu/kernels/channel_vectors.h"
#include "runtime/cpu/kernels/conv/geometry.h"
#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/widened.h"

namespace adjoint::cpu {
namespace {

constexpr int64_t kShardElements = 1 << 15;
constexpr int64_t kShards = 64;

// The windows of a pooling of x [batch,h,w,c] into y.
struct Windows {
  Windows(const PoolAttributes& attributes, const std::vector<int64_t>& x,
          const std::vector<int64_t>& y)
      : batch(x[0]), height(x[1]), width(x[2]), channels(x[3]), y_height(y[1]), y_width(y[2]) {
    const std::array<WindowAxis, 2> windows = pool_axes(attributes);
    for (int i = 0; i < 2; ++i) {
      axes[i] = {.x = x[1 + i],
                 .y = y[1 + i],
                 .filter = windows[i].size,
                 .stride = windows[i].stride,
                 .pad = pads_of(windows[i], x[1 + i]).low};
    }
    rows = forward_taps(axes[0]);
    columns = forward_taps(axes[1]);
  }

  int64_t x_image() const { return height * width * channels; }
  int64_t y_image() const { return y_height * y_width * channels; }

  int64_t batch, height, width, channels, y_height, y_width;
  std::array<ConvAxis, 2> axes;
  AxisTaps rows;  // of each output row, the input rows that its windows see
  AxisTaps columns;
};

// For vectors: whether to take x instead of the best so far. The first of equals stays, and so does
// the first NaN, which wins.
template <typename V>
[[gnu::always_inline]] inline auto beats(V x, V best) {
  return (x > best) | ((x != x) & (best == best));
}

// Calls visit(offset in x's image) for each element of a window, in row-major order.
template <typename Visit>
[[gnu::always_inline]] inline void for_window(const Windows& w, int64_t row, int64_t column,
                                              Visit visit) {
  for (const Tap& r : w.rows[row]) {
    for (const Tap& c : w.columns[column]) {
      visit((r.source * w.width + c.source) * w.channels);
    }
  }
}

// Calls body(image, row) for each of `rows` rows of every image, in shards.
template <typename Body>
void for_rows(Threads& threads, int64_t batch, int64_t rows, int64_t row_elements, Body body) {
  const int64_t lines = batch * rows;
  const int64_t shards = std::clamp<int64_t>(
      shard_count(lines * row_elements, kShardElements, kShards), 1, std::max<int64_t>(lines, 1));
  threads.parallel_for(shards, [&](int64_t shard) {
    for (int64_t line = shard_begin(lines, shards, shard);
         line < shard_begin(lines, shards, shard + 1); ++line) {
      body(line / rows, line % rows);
    }
  });
}

// The winners' elements of `from` (x itself, or g).
template <typename T>
void pick(const Windows& w, const T* x, const T* from, T* y, Threads& threads) {
  for_rows(threads, w.batch, w.y_height, w.y_width * w.channels, [&](int64_t image, int64_t row) {
    const T* x_image = x + image * w.x_image();
    const T* from_image = from + image * w.x_image();
    T* to = y + image * w.y_image() + row * w.y_width * w.channels;
    for (int64_t column = 0; column < w.y_width; ++column, to += w.channels) {
      const int64_t first =
          (w.rows[row][0].source * w.width + w.columns[column][0].source) * w.channels;
      for_channels<T>(0, w.channels, [&](int64_t c, auto load_part, auto store_part) {
        Vec<T> best = load_part(x_image + first + c);
        Vec<T> picked = load_part(from_image + first + c);
        for_window(w, row, column, [&](int64_t at) {
          const Vec<T> value = load_part(x_image + at + c);
          const auto better = beats(value, best);
          best = better ? value : best;
          picked = better ? load_part(from_image + at + c) : picked;
        });
        store_part(to + c, picked);
      });
    }
  });
}

template <typename T>
void max_pool_rows(const Windows& w, const T* x, T* y, Threads& threads) {
  for_rows(threads, w.batch, w.y_height, w.y_width * w.channels, [&](int64_t image, int64_t row) {
    const T* x_image = x + image * w.x_image();
    T* to = y + image * w.y_image() + row * w.y_width * w.channels;
    for (int64_t column = 0; column < w.y_width; ++column, to += w.channels) {
      const int64_t first =
          (w.rows[row][0].source * w.width + w.columns[column][0].source) * w.channels;
      for_channels<T>(0, w.channels, [&](int64_t c, auto load_part, auto store_part) {
        Vec<T> best = load_part(x_image + first + c);
        for_window(w, row, column, [&](int64_t at) {
          const Vec<T> value = load_part(x_image + at + c);
          best = beats(value, best) ? value : best;
        });
        store_part(to + c, best);
      });
    }
  });
}

// Adds one image's dy to the winners among channels first .. last - 1 of dx.
template <typename T>
void add_to_winners(const Windows& w, const T* x, const T* dy, T* dx, int64_t first, int64_t last) {
  for (int64_t pixel = 0; pixel < w.height * w.width; ++pixel) {
    std::fill(dx + pixel * w.channels + first, dx + pixel * w.channels + last, T{});
  }
  for (int64_t row = 0; row < w.y_height; ++row) {
    for (int64_t column = 0; column < w.y_width; ++column) {
      const T* from = dy + (row * w.y_width + column) * w.channels;
      const int64_t start =
          (w.rows[row][0].source * w.width + w.columns[column][0].source) * w.channels;
      for_channels<T>(first, last, [&](int64_t c, auto load_part, auto store_part) {
        Vec<T> best = load_part(x + start + c);
        auto winner = best != best;  // the winner's number, as integers in the lanes
        winner ^= winner;
        auto number = winner;
        for_window(w, row, column, [&](int64_t at) {
          const Vec<T> value = load_part(x + at + c);
          const auto better = beats(value, best);
          best = better ? value : best;
          winner = better ? number : winner;
          number += 1;
        });
        const Vec<T> gradient = load_part(from + c);
        number ^= number;
        for_window(w, row, column, [&](int64_t at) {
          store_part(dx + at + c,
                     load_part(dx + at + c) + (winner == number ? gradient : Vec<T>{}));
          number += 1;
        });
      });
    }
  }
}

template <typename T>
void max_pool_grad_images(const Windows& w, const T* dy, const T* x, T* dx, Threads& threads) {
  // Windows may overlap, so an image is one thread's, but for its channels.
  const int64_t vectors = (w.channels + kLanes<T> - 1) / kLanes<T>;
  const int64_t parts =
      std::clamp<int64_t>(16 / std::max<int64_t>(w.batch, 1), 1, std::max<int64_t>(vectors, 1));
  threads.parallel_for(w.batch * parts, [&](int64_t shard) {
    const int64_t image = shard / parts, part = shard % parts;
    add_to_winners(w, x + image * w.x_image(), dy + image * w.y_image(), dx + image * w.x_image(),
                   shard_begin(vectors, parts, part) * kLanes<T>,
                   std::min(shard_begin(vectors, parts, part + 1) * kLanes<T>, w.channels));
  });
}

// How many elements the window of an output row (or column) counts along its axis.
int64_t counted(const AxisTaps& taps, int64_t place, int64_t size, bool include_pad) {
  return include_pad ? size : std::ssize(taps[place]);
}

template <typename T>
void avg_pool_rows(const Windows& w, bool include_pad, const T* x, T* y, Threads& threads) {
  for_rows(threads, w.batch, w.y_height, w.y_width * w.channels, [&](int64_t image, int64_t row) {
    const T* x_image = x + image * w.x_image();
    T* to = y + image * w.y_image() + row * w.y_width * w.channels;
    for (int64_t column = 0; column < w.y_width; ++column, to += w.channels) {
      const auto count = static_cast<T>(counted(w.rows, row, w.axes[0].filter, include_pad) *
                                        counted(w.columns, column, w.axes[1].filter, include_pad));
      for_channels<T>(0, w.channels, [&](int64_t c, auto load_part, auto store_part) {
        Vec<T> sum{};
        for_window(w, row, column, [&](int64_t at) { sum += load_part(x_image + at + c); });
        store_part(to + c, sum / count);
      });
    }
  });
}

// Every pixel of dx gathers from the windows that it is in.
template <typename T>
void avg_pool_grad_rows(const Windows& w, bool include_pad, const T* dy, T* dx, Threads& threads) {
  const AxisTaps rows = backward_taps(w.axes[0]), columns = backward_taps(w.axes[1]);
  for_rows(threads, w.batch, w.height, w.width * w.channels, [&](int64_t image, int64_t row) {
    const T* dy_image = dy + image * w.y_image();
    T* to = dx + image * w.x_image() + row * w.width * w.channels;
    for (int64_t column = 0; column < w.width; ++column, to += w.channels) {
      for_channels<T>(0, w.channels, [&](int64_t c, auto load_part, auto store_part) {
        Vec<T> sum{};
        for (const Tap& r : rows[row]) {
          for (const Tap& s : columns[column]) {
            const auto count =
                static_cast<T>(counted(w.rows, r.source, w.axes[0].filter, include_pad) *
                               counted(w.columns, s.source, w.axes[1].filter, include_pad));
            sum += load_part(dy_image + (r.source * w.y_width + s.source) * w.channels + c) / count;
          }
        }
        store_part(to + c, sum);
      });
    }
  });
}

KernelFacts describe_nothing(const KernelRequest&) { return {}; }

// Calls body.operator()<T>() for the type that a widened request computes in.
template <typename Body>
PreparedKernel prepare_wide(const KernelRequest& request, Body body) {
  return request.outputs[0].dtype == DType::f64 ? body.template operator()<double>()
                                                : body.template operator()<float>();
}

PreparedKernel prepare_max_pool(const KernelRequest& r) {
  return prepare_wide(r, [&]<typename T>() -> PreparedKernel {
    return [w = Windows(r.attributes<PoolAttributes>(), r.inputs[0].dims, r.outputs[0].dims)](
               const KernelCall& call) {
      max_pool_rows(w, call.input<T>(0), call.output<T>(0), call.threads);
    };
  });
}

PreparedKernel prepare_max_pool_pick(const KernelRequest& r) {
  return prepare_wide(r, [&]<typename T>() -> PreparedKernel {
    return [w = Windows(r.attributes<PoolAttributes>(), r.inputs[1].dims, r.outputs[0].dims)](
               const KernelCall& call) {
      pick(w, call.input<T>(1), call.input<T>(0), call.output<T>(0), call.threads);
    };
  });
}

PreparedKernel prepare_max_pool_grad(const KernelRequest& r) {
  return prepare_wide(r, [&]<typename T>() -> PreparedKernel {
    return [w = Windows(r.attributes<PoolAttributes>(), r.inputs[1].dims, r.inputs[0].dims)](
               const KernelCall& call) {
      max_pool_grad_images(w, call.input<T>(0), call.input<T>(1), call.output<T>(0), call.threads);
    };
  });
}

PreparedKernel prepare_avg_pool(const KernelRequest& r) {
  return prepare_wide(r, [&]<typename T>() -> PreparedKernel {
    const auto& attributes = r.attributes<AvgPoolAttributes>();
    return [w = Windows(attributes, r.inputs[0].dims, r.outputs[0].dims),
            include_pad = attributes.count_include_pad](const KernelCall& call) {
      avg_pool_rows(w, include_pad, call.input<T>(0), call.output<T>(0), call.threads);
    };
  });
}

PreparedKernel prepare_avg_pool_grad(const KernelRequest& r) {
  return prepare_wide(r, [&]<typename T>() -> PreparedKernel {
    const auto& attributes = r.attributes<AvgPoolGradAttributes>();
    return [w = Windows(attributes, r.outputs[0].dims, r.inputs[0].dims),
            include_pad = attributes.count_include_pad](const KernelCall& call) {
      avg_pool_grad_rows(w, include_pad, call.input<T>(0), call.output<T>(0), call.threads);
    };
  });
}

using MaxPool = Widened<describe_nothing, prepare_max_pool>;
using MaxPoolPick = Widened<describe_nothing, prepare_max_pool_pick>;
using MaxPoolGrad = Widened<describe_nothing, prepare_max_pool_grad>;
using AvgPool = Widened<describe_nothing, prepare_avg_pool>;
using AvgPoolGrad = Widened<describe_nothing, prepare_avg_pool_grad>;

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.max_pool",
     .op = "max_pool",
     .describe = MaxPool::describe,
     .prepare = MaxPool::prepare},
    {.name = "adjoint.max_pool_pick",
     .op = "max_pool_pick",
     .describe = MaxPoolPick::describe,
     .prepare = MaxPoolPick::prepare},
    {.name = "adjoint.max_pool_grad",
     .op = "max_pool_grad",
     .describe = MaxPoolGrad::describe,
     .prepare = MaxPoolGrad::prepare},
    {.name = "adjoint.avg_pool",
     .op = "avg_pool",
     .describe = AvgPool::describe,
     .prepare = AvgPool::prepare},
    {.name = "adjoint.avg_pool_grad",
     .op = "avg_pool_grad",
     .describe = AvgPoolGrad::describe,
     .prepare = AvgPoolGrad::prepare},
};

}  // namespace

std::span<const KernelDef> pool_kernels() { return kKernels; }

}  // namespace adjoint::cpu
