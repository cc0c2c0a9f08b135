// Kernels written by hand for batch normalisation followed by relu and perhaps max pooling, and for
// their backward: see runtime/patterns.h for what they compute. One pass over x takes its moments,
// one more writes the (pooled) result; backward, one pass finds each window's winner and sums, one
// more writes dx. Nothing between is stored.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "graph/block.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/fused/channel_sums.h"
#include "runtime/cpu/kernels/simd.h"
#include "runtime/cpu/kernels/widened.h"
#include "runtime/patterns.h"

namespace adjoint::cpu {
namespace {

using V = Vec<float>;
constexpr int kWidth = kLanes<float>;
constexpr int64_t kShardElements = 1 << 15;

// The windows of a pool over images [n,h,w,c]; without a pool each pixel is a window of its own.
struct Windows {
  int64_t images, height, width, channels;
  int64_t rows, columns;  // of windows
  int64_t stride_y = 1, stride_x = 1;
  std::vector<int64_t> taps = {0};  // offsets of a window's pixels, in floats

  Windows(const std::vector<int64_t>& x, const PoolAttributes* pool) : channels(x.back()) {
    images = pool ? x[0] : 1;
    height = pool ? x[1] : 1;
    width = pool ? x[2] : 1;
    for (size_t axis = 0; !pool && axis + 1 < x.size(); ++axis) width *= x[axis];
    rows = height;
    columns = width;
    if (!pool) return;
    stride_y = pool->stride[0];
    stride_x = pool->stride[1];
    rows = (height - pool->window[0]) / stride_y + 1;
    columns = (width - pool->window[1]) / stride_x + 1;
    taps.clear();
    for (int64_t i = 0; i < pool->window[0]; ++i) {
      for (int64_t j = 0; j < pool->window[1]; ++j) taps.push_back((i * width + j) * channels);
    }
  }
  int64_t pixels() const { return images * height * width; }
  // Work is shared out by rows of windows; without a pool there is one row, cut by columns.
  int64_t units() const { return rows > 1 || images > 1 ? images * rows : columns; }
  int64_t shards() const { return shard_count(pixels() * channels, kShardElements); }

  // Calls body(first pixel in x, window's index) for the windows of the shard's units.
  template <typename Body>
  void each(int64_t shard, Body body) const {
    const int64_t begin = shard_begin(units(), shards(), shard);
    const int64_t end = shard_begin(units(), shards(), shard + 1);
    if (units() == columns && images * rows == 1) {
      for (int64_t j = begin; j < end; ++j) body(j * stride_x * channels, j);
      return;
    }
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t y = unit / rows * height + unit % rows * stride_y;
      for (int64_t j = 0; j < columns; ++j) {
        body((y * width + j * stride_x) * channels, unit * columns + j);
      }
    }
  }
};

// y = a (x - mean) + offset per channel, with a = scale / sqrt(variance + epsilon). The mean is not
// drawn into the offset: of a mean far from zero that would cost digits.
struct Affine {
  const float *a, *mean, *offset;
};
Affine affine_of(float* a, int64_t channels, const float* scale, const float* offset,
                 const float* mean, const float* variance, double epsilon) {
  for (int64_t c = 0; c < channels; ++c) {
    a[c] = static_cast<float>(scale[c] / std::sqrt(variance[c] + epsilon));
  }
  return {a, mean, offset};
}

// The workspace: the sums, then vectors of a float per channel.
size_t sums_bytes(const Windows& w) {
  return aligned_bytes(ChannelSums::workspace_bytes(w.channels, w.shards()));
}
size_t vectors_bytes(const Windows& w, int count) { return count * w.channels * sizeof(float); }
float* vectors_after(const KernelCall& call, size_t bytes) {
  return reinterpret_cast<float*>(static_cast<std::byte*>(call.workspace) + bytes);
}

// Calls body(c, lanes) for the channels, a vector at a time.
template <typename Body>
[[gnu::always_inline]] inline void for_channels(int64_t channels, Body body) {
  int64_t c = 0;
  for (; c + kWidth <= channels; c += kWidth) body(c, kWidth);
  if (c < channels) body(c, static_cast<int>(channels - c));
}

[[gnu::always_inline]] inline V get(const float* from, int lanes) {
  return lanes == kWidth ? load<V>(from) : load_first<V>(from, lanes);
}
[[gnu::always_inline]] inline void put(float* to, V value, int lanes) {
  if (lanes == kWidth) {
    store(to, value);
  } else {
    store_first(to, value, lanes);
  }
}

// A vector of channels of an Affine.
struct Channels {
  int lanes;
  V a, mean, offset;

  [[gnu::always_inline]] Channels(const Affine& affine, int64_t c, int lanes)
      : lanes(lanes),
        a(get(affine.a + c, lanes)),
        mean(get(affine.mean + c, lanes)),
        offset(get(affine.offset + c, lanes)) {}
  [[gnu::always_inline]] V centred(const float* x) const { return get(x, lanes) - mean; }
  [[gnu::always_inline]] V normalised(V centred) const { return a * centred + offset; }
};

// Not max(): a NaN must come through.
[[gnu::always_inline]] inline V relu(V z) { return z < 0.0f ? V{} : z; }

// kTaps: the number of taps where it is known to the compiler, otherwise 0.
template <int kTaps>
void forward_shard(const Windows& windows, int64_t shard, const Affine& affine, const float* x,
                   float* y) {
  const int64_t taps = kTaps ? kTaps : static_cast<int64_t>(windows.taps.size());
  const int64_t* offsets = windows.taps.data();
  windows.each(shard, [&](int64_t from, int64_t window) {
    for_channels(windows.channels, [&](int64_t c, int lanes) {
      const Channels k(affine, c, lanes);
      const float* p = x + from + c;
      V best = k.normalised(k.centred(p));
      for (int64_t t = 1; t < taps; ++t) {
        const V z = k.normalised(k.centred(p + offsets[t]));
        best =
            z > best ? z : best;  // NaN: the moments are NaN as well then, and all z of a channel
      }
      put(y + window * windows.channels + c, relu(best), lanes);
    });
  });
}

void forward(const Windows& windows, const Affine& affine, const float* x, float* y,
             Threads& threads) {
  threads.parallel_for(windows.shards(), [&](int64_t shard) {
    switch (windows.taps.size()) {
      case 1:
        return forward_shard<1>(windows, shard, affine, x, y);
      case 4:
        return forward_shard<4>(windows, shard, affine, x, y);
      default:
        return forward_shard<0>(windows, shard, affine, x, y);
    }
  });
}

// One window's channels: the first winner's x - mean, and the cotangent that relu lets through.
struct Winner {
  V centred, gradient;
  V tap;  // the winner's number
};

template <int kTaps>
[[gnu::always_inline]] inline Winner find_winner(const float* p, const int64_t* offsets,
                                                 int64_t taps, const Channels& k, V dy) {
  Winner winner{k.centred(p), {}, {}};
  V best = k.normalised(winner.centred);
  for (int64_t t = 1; t < (kTaps ? kTaps : taps); ++t) {
    const V centred = k.centred(p + offsets[t]);
    const V z = k.normalised(centred);
    winner.centred = z > best ? centred : winner.centred;
    winner.tap = z > best ? V{} + static_cast<float>(t) : winner.tap;
    best = z > best ? z : best;
  }
  winner.gradient = best > 0.0f ? dy : V{};
  return winner;
}

struct Backward {
  const Windows& windows;
  const Affine& affine;
  const float *dy, *x;

  // Adds dh and dh (x - mean) per channel, where dh is the cotangent of the normalised values.
  template <int kTaps>
  void sum_shard(int64_t shard, ChannelSums& sums) const {
    windows.each(shard, [&](int64_t from, int64_t window) {
      sums.begin_row();
      for_channels(windows.channels, [&](int64_t c, int lanes) {
        const Channels k(affine, c, lanes);
        const V g = get(dy + window * windows.channels + c, lanes);
        const Winner w =
            find_winner<kTaps>(x + from + c, windows.taps.data(), windows.taps.size(), k, g);
        sums.add(c, w.gradient, w.gradient * w.centred);
      });
    });
    sums.finish();
  }

  // dx = a dh + shift + slope (x - mean) per channel.
  template <int kTaps>
  void write_shard(int64_t shard, const float* shift, const float* slope, float* dx) const {
    const int64_t taps = kTaps ? kTaps : static_cast<int64_t>(windows.taps.size());
    windows.each(shard, [&](int64_t from, int64_t window) {
      for_channels(windows.channels, [&](int64_t c, int lanes) {
        const Channels k(affine, c, lanes);
        const V g = get(dy + window * windows.channels + c, lanes);
        const float* p = x + from + c;
        const Winner w = find_winner<kTaps>(p, windows.taps.data(), taps, k, g);
        const V own = k.a * w.gradient, s0 = get(shift + c, lanes), s1 = get(slope + c, lanes);
        for (int64_t t = 0; t < taps; ++t) {
          const V rest = s0 + s1 * k.centred(p + windows.taps[t]);
          const V value = w.tap == static_cast<float>(t) ? rest + own : rest;
          put(dx + from + c + windows.taps[t], value, lanes);
        }
      });
    });
  }
};

// Pixels that no window covers get shift + slope (x - mean) alone. Nothing to do where windows tile
// the image.
void write_uncovered(const Windows& w, const PoolAttributes* pool, const float* shift,
                     const float* slope, const float* x, const float* mean, float* dx,
                     Threads& threads) {
  if (!pool) return;
  const bool tiled = pool->stride == pool->window && w.rows * w.stride_y == w.height &&
                     w.columns * w.stride_x == w.width;
  if (tiled) return;
  auto covered = [](int64_t i, int64_t stride, int64_t window, int64_t count) {
    return i % stride < window && i / stride < count;
  };
  threads.parallel_for(w.images, [&](int64_t image) {
    for (int64_t pixel = 0; pixel < w.height * w.width; ++pixel) {
      if (covered(pixel / w.width, w.stride_y, pool->window[0], w.rows) &&
          covered(pixel % w.width, w.stride_x, pool->window[1], w.columns)) {
        continue;
      }
      const int64_t at = (image * w.height * w.width + pixel) * w.channels;
      for (int64_t c = 0; c < w.channels; ++c) {
        dx[at + c] = shift[c] + slope[c] * (x[at + c] - mean[c]);
      }
    }
  });
}

// Calls run.template operator()<taps>().
template <typename Run>
void with_taps(size_t taps, Run run) {
  switch (taps) {
    case 1:
      return run.template operator()<1>();
    case 4:
      return run.template operator()<4>();
    default:
      return run.template operator()<0>();
  }
}

// The pool in a region's body; null where there is none.
const PoolAttributes* pool_of(const Block& body) {
  for (int32_t i = 0; i < static_cast<int32_t>(body.size()); ++i) {
    const Node& node = body.node(i);
    if (node.op == &kMaxPool || node.op == &kMaxPoolGrad) {
      return &node.attributes.get<PoolAttributes>();
    }
  }
  return nullptr;
}

double epsilon_of(const Block& body) {
  for (int32_t i = 0; i < static_cast<int32_t>(body.size()); ++i) {
    const Node& node = body.node(i);
    if (node.attributes.holds<BatchNormAttributes>()) {
      return node.attributes.get<BatchNormAttributes>().epsilon;
    }
  }
  return 0;
}

// A region of constants alone has no inputs.
bool is_f32(const KernelRequest& request) {
  return !request.inputs.empty() && request.inputs[0].dtype == DType::f32;
}

bool supports_training(const KernelRequest& request) {
  const std::string text = signature(request.region());
  return is_f32(request) && (text == kNormRelu || text == kNormReluPool);
}

bool supports_inference(const KernelRequest& request) {
  const std::string text = signature(request.region());
  return is_f32(request) && (text == kInferenceNormRelu || text == kInferenceNormReluPool);
}

bool supports_grad(const KernelRequest& request) {
  const std::string text = signature(request.region());
  return is_f32(request) && (text == kNormReluGrad || text == kNormReluPoolGrad);
}

Windows windows_of(const KernelRequest& request, size_t x) {
  return Windows(request.inputs[x].dims, pool_of(request.region()));
}

KernelFacts describe_training(const KernelRequest& request) {
  const Windows w = windows_of(request, 0);
  const double elements = static_cast<double>(w.pixels() * w.channels);
  return {.workspace_bytes = sums_bytes(w) + vectors_bytes(w, 1), .flops = 6 * elements};
}

PreparedKernel prepare_training(const KernelRequest& request) {
  return [windows = windows_of(request, 0),
          epsilon = epsilon_of(request.region())](const KernelCall& call) {
    const float* x = call.input<float>(0);
    float *mean = call.output<float>(1), *variance = call.output<float>(2);
    channel_moments(x, windows.pixels(), windows.channels, windows.shards(), mean, variance, call);
    const Affine affine =
        affine_of(vectors_after(call, sums_bytes(windows)), windows.channels, call.input<float>(1),
                  call.input<float>(2), mean, variance, epsilon);
    forward(windows, affine, x, call.output<float>(0), call.threads);
  };
}

KernelFacts describe_inference(const KernelRequest& request) {
  const Windows w = windows_of(request, 0);
  const double elements = static_cast<double>(w.pixels() * w.channels);
  return {.workspace_bytes = vectors_bytes(w, 1), .flops = 2 * elements};
}

PreparedKernel prepare_inference(const KernelRequest& request) {
  return [windows = windows_of(request, 0),
          epsilon = epsilon_of(request.region())](const KernelCall& call) {
    const Affine affine =
        affine_of(vectors_after(call, 0), windows.channels, call.input<float>(1),
                  call.input<float>(2), call.input<float>(3), call.input<float>(4), epsilon);
    forward(windows, affine, call.input<float>(0), call.output<float>(0), call.threads);
  };
}

KernelFacts describe_grad(const KernelRequest& request) {
  const Windows w = windows_of(request, 1);
  const double elements = static_cast<double>(w.pixels() * w.channels);
  return {.workspace_bytes = sums_bytes(w) + vectors_bytes(w, 3), .flops = 12 * elements};
}

void run_grad(const Windows& windows, const PoolAttributes* pool, double epsilon,
              const KernelCall& call) {
  const float *x = call.input<float>(1), *scale = call.input<float>(2);
  const float *mean = call.input<float>(4), *variance = call.input<float>(5);
  float *dx = call.output<float>(0), *dscale = call.output<float>(1),
        *doffset = call.output<float>(2);
  const int64_t channels = windows.channels, shards = windows.shards();
  float* vectors = vectors_after(call, sums_bytes(windows));
  const Affine affine =
      affine_of(vectors, channels, scale, call.input<float>(3), mean, variance, epsilon);
  const Backward backward{windows, affine, call.input<float>(0), x};

  with_taps(windows.taps.size(), [&]<int kTaps>() {
    call.threads.parallel_for(shards, [&](int64_t shard) {
      ChannelSums sums(call.workspace, channels, shard);
      backward.sum_shard<kTaps>(shard, sums);
    });
  });
  float *shift = vectors + channels, *slope = vectors + 2 * channels;
  const double count = static_cast<double>(windows.pixels());
  for (int64_t c = 0; c < channels; ++c) {
    const auto [sum, product] = ChannelSums::total(call.workspace, channels, shards, c);
    const double inverse = 1 / std::sqrt(variance[c] + epsilon);
    doffset[c] = static_cast<float>(sum);
    dscale[c] = static_cast<float>(product * inverse);
    slope[c] = static_cast<float>(-scale[c] * inverse * inverse * inverse * product / count);
    // Of the same a as the winners': else the sum of dx, zero but for rounding, would be off.
    shift[c] = static_cast<float>(-affine.a[c] * sum / count);
  }
  with_taps(windows.taps.size(), [&]<int kTaps>() {
    call.threads.parallel_for(
        shards, [&](int64_t shard) { backward.write_shard<kTaps>(shard, shift, slope, dx); });
  });
  write_uncovered(windows, pool, shift, slope, x, mean, dx, call.threads);
}

PreparedKernel prepare_grad(const KernelRequest& request) {
  const PoolAttributes* pool = pool_of(request.region());
  return [windows = windows_of(request, 1), pooled = pool != nullptr,
          attributes = pool ? *pool : PoolAttributes{},
          epsilon = epsilon_of(request.region())](const KernelCall& call) {
    run_grad(windows, pooled ? &attributes : nullptr, epsilon, call);
  };
}

}  // namespace

std::span<const KernelDef> fused_norm_kernels() {
  static constexpr KernelDef kKernels[] = {
      {.name = "adjoint.norm_relu",
       .op = "region",
       .supports = supports_training,
       .describe = describe_training,
       .prepare = prepare_training},
      {.name = "adjoint.norm_relu_inference",
       .op = "region",
       .supports = supports_inference,
       .describe = describe_inference,
       .prepare = prepare_inference},
      {.name = "adjoint.norm_relu_grad",
       .op = "region",
       .supports = supports_grad,
       .describe = describe_grad,
       .prepare = prepare_grad},
  };
  return kKernels;
}

}  // namespace adjoint::cpu
