// Kernels of max_pool and avg_pool, of their gradients and of max_pool_pick: a thread for some
// neighbouring channels of each output pixel. The gradients gather as well: from all windows that a
// pixel is in, in order.
#include <array>

#include "ops/pool.h"
#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/visit.h"

namespace adjoint::cuda {
namespace {

struct Span {
  int64_t begin;
  int64_t end;
};

// Windows along height or width.
struct PoolAxis {
  int64_t x = 0;  // pixels
  int64_t y = 0;  // windows
  int64_t size = 1;
  int64_t stride = 1;
  int64_t pad = 0;  // before x

  // The pixels of a window, and the windows of a pixel.
  __device__ Span pixels(int64_t window) const {
    const int64_t first = window * stride - pad;
    return {first > 0 ? first : 0, first + size < x ? first + size : x};
  }
  __device__ Span windows(int64_t pixel) const {
    const int64_t last = pixel + pad, first = last - size + 1;
    const int64_t begin = first > 0 ? divide(first + stride - 1, stride).whole : 0;
    const int64_t end = divide(last, stride).whole + 1;
    return {begin, end < y ? end : y};
  }
};

struct Pool {
  int64_t images;
  PoolAxis rows, columns;
  int64_t channels;
  bool include_pad = false;  // whether padding counts for the mean

  Pool(const PoolAttributes& attributes, const std::vector<int64_t>& x,
       const std::vector<int64_t>& y)
      : images(x[0]), channels(x[3]) {
    const std::array<WindowAxis, 2> axes = pool_axes(attributes);
    auto axis = [&](int i) {
      return PoolAxis{.x = x[1 + i],
                      .y = y[1 + i],
                      .size = axes[i].size,
                      .stride = axes[i].stride,
                      .pad = pads_of(axes[i], x[1 + i]).low};
    };
    rows = axis(0);
    columns = axis(1);
  }

  __device__ int64_t x_elements() const { return images * rows.x * columns.x * channels; }
  __device__ int64_t y_elements() const { return images * rows.y * columns.y * channels; }
  // Where channel 0 of a pixel lies.
  __device__ int64_t x_place(int64_t image, int64_t row, int64_t column) const {
    return ((image * rows.x + row) * columns.x + column) * channels;
  }
  __device__ int64_t y_place(int64_t image, int64_t row, int64_t column) const {
    return ((image * rows.y + row) * columns.y + column) * channels;
  }
  // Over how many pixels a window's mean is taken.
  __device__ int64_t counted(Span i, Span j) const {
    return include_pad ? rows.size * columns.size : (i.end - i.begin) * (j.end - j.begin);
  }
};

// A thread's pixel of an image of `height` x `width`, and the first of its channels.
struct Pixel {
  int64_t image, row, column, channel;

  __device__ Pixel(int64_t pack, int64_t height, int64_t width, int64_t packs, int vec) {
    const Quotient c = divide(pack, packs), j = divide(c.whole, width), i = divide(j.whole, height);
    channel = c.rest * vec;
    column = j.rest;
    row = i.rest;
    image = i.whole;
  }
};
template <int kVec>
__device__ inline bool has_pack(int64_t elements, int64_t* pack) {
  *pack = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  return *pack * kVec < elements;
}
template <int kVec>
__device__ inline Pixel y_pixel(const Pool& pool, int64_t pack) {
  return Pixel(pack, pool.rows.y, pool.columns.y, pool.channels / kVec, kVec);
}
template <int kVec>
__device__ inline Pixel x_pixel(const Pool& pool, int64_t pack) {
  return Pixel(pack, pool.rows.x, pool.columns.x, pool.channels / kVec, kVec);
}

// The elements of `from` at the winners of x's windows.
template <typename T, int kVec>
__global__ void max_pool(Pool pool, const T* x, const T* from, T* y) {
  begin_kernel();
  int64_t pack;
  if (!has_pack<kVec>(pool.y_elements(), &pack)) return;
  const Pixel at = y_pixel<kVec>(pool, pack);
  const Span rows = pool.rows.pixels(at.row), columns = pool.columns.pixels(at.column);
  Pack<T, kVec> picked;
  Compute<T> best[kVec];
  bool first = true;
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    for (int64_t j = columns.begin; j < columns.end; ++j) {
      const int64_t place = pool.x_place(at.image, i, j) + at.channel;
      const auto value = load_pack<kVec>(x + place);
      const auto candidate = from == x ? value : load_pack<kVec>(from + place);
      for (int v = 0; v < kVec; ++v) {
        if (!first && !beats(widen(value[v]), best[v])) continue;
        best[v] = widen(value[v]);
        picked[v] = candidate[v];
      }
      first = false;
    }
  }
  store_pack(y + pack * kVec, picked);
}

// Adds a window's dy to the channels for which the pixel (row, column) wins: it beats all before
// it, and none after beats it.
template <typename T, int kVec>
__device__ inline void add_if_winner(const Pool& pool, const Pixel& at, int64_t window_row,
                                     int64_t window_column, const T* dy, const T* x,
                                     Compute<T> (&sums)[kVec]) {
  const Span rows = pool.rows.pixels(window_row), columns = pool.columns.pixels(window_column);
  const auto own = load_pack<kVec>(x + pool.x_place(at.image, at.row, at.column) + at.channel);
  bool wins[kVec];
  for (int v = 0; v < kVec; ++v) wins[v] = true;
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    for (int64_t j = columns.begin; j < columns.end; ++j) {
      if (i == at.row && j == at.column) continue;
      const bool before = i < at.row || (i == at.row && j < at.column);
      const auto other = load_pack<kVec>(x + pool.x_place(at.image, i, j) + at.channel);
      for (int v = 0; v < kVec; ++v) {
        const Compute<T> a = widen(own[v]), b = widen(other[v]);
        wins[v] = wins[v] && (before ? beats(a, b) : !beats(b, a));
      }
    }
  }
  const int64_t window = pool.y_place(at.image, window_row, window_column);
  const auto gradient = load_pack<kVec>(dy + window + at.channel);
  for (int v = 0; v < kVec; ++v) {
    if (wins[v]) sums[v] += widen(gradient[v]);
  }
}

// Writes what `add(window row, window column, sums)` adds up over a pixel's windows.
template <typename T, int kVec, typename AddWindow>
__device__ inline void gather_windows(const Pool& pool, int64_t pack, const Pixel& at, T* dx,
                                      AddWindow add) {
  const Span rows = pool.rows.windows(at.row), columns = pool.columns.windows(at.column);
  Compute<T> sums[kVec] = {};
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    for (int64_t j = columns.begin; j < columns.end; ++j) add(i, j, sums);
  }
  Pack<T, kVec> result;
  for (int v = 0; v < kVec; ++v) result[v] = narrow<T>(sums[v]);
  store_pack(dx + pack * kVec, result);
}

template <typename T, int kVec>
__global__ void max_pool_grad(Pool pool, const T* dy, const T* x, T* dx) {
  begin_kernel();
  int64_t pack;
  if (!has_pack<kVec>(pool.x_elements(), &pack)) return;
  const Pixel at = x_pixel<kVec>(pool, pack);
  gather_windows<T, kVec>(pool, pack, at, dx, [&](int64_t i, int64_t j, Compute<T>(&sums)[kVec]) {
    add_if_winner<T, kVec>(pool, at, i, j, dy, x, sums);
  });
}

template <typename T, int kVec>
__global__ void avg_pool(Pool pool, const T* x, T* y) {
  begin_kernel();
  int64_t pack;
  if (!has_pack<kVec>(pool.y_elements(), &pack)) return;
  const Pixel at = y_pixel<kVec>(pool, pack);
  const Span rows = pool.rows.pixels(at.row), columns = pool.columns.pixels(at.column);
  Compute<T> sums[kVec] = {};
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    for (int64_t j = columns.begin; j < columns.end; ++j) {
      const auto value = load_pack<kVec>(x + pool.x_place(at.image, i, j) + at.channel);
      for (int v = 0; v < kVec; ++v) sums[v] += widen(value[v]);
    }
  }
  const auto count = static_cast<Compute<T>>(pool.counted(rows, columns));
  Pack<T, kVec> result;
  for (int v = 0; v < kVec; ++v) result[v] = narrow<T>(sums[v] / count);
  store_pack(y + pack * kVec, result);
}

template <typename T, int kVec>
__global__ void avg_pool_grad(Pool pool, const T* dy, T* dx) {
  begin_kernel();
  int64_t pack;
  if (!has_pack<kVec>(pool.x_elements(), &pack)) return;
  const Pixel at = x_pixel<kVec>(pool, pack);
  gather_windows<T, kVec>(pool, pack, at, dx, [&](int64_t i, int64_t j, Compute<T>(&sums)[kVec]) {
    const auto count =
        static_cast<Compute<T>>(pool.counted(pool.rows.pixels(i), pool.columns.pixels(j)));
    const auto gradient = load_pack<kVec>(dy + pool.y_place(at.image, i, j) + at.channel);
    for (int v = 0; v < kVec; ++v) sums[v] += widen(gradient[v]) / count;
  });
}

// A thread for each pack of `elements`.
template <int kVec>
LaunchShape shape_for(int64_t elements) {
  constexpr int64_t kThreads = 256;
  const int64_t packs = elements / kVec;
  return {.grid = dim3(static_cast<unsigned>((packs + kThreads - 1) / kThreads)),
          .block = dim3(kThreads)};
}

// A kernel that calls run.operator()<T, kVec>(call, shape) for `elements` elements, some at a time.
template <typename Run>
PreparedKernel prepare(const KernelRequest& request, int64_t channels, Run run) {
  const TensorType& out = request.outputs[0];
  const int64_t elements = out.element_count();
  return visit_float(out.dtype, [&]<typename T>() -> PreparedKernel {
    return visit_pack<T>(channels, [&]<int kVec>() -> PreparedKernel {
      return [=](const KernelCall& call) {
        if (elements > 0) run.template operator()<T, kVec>(call, shape_for<kVec>(elements));
      };
    });
  });
}

PreparedKernel prepare_max_pool(const KernelRequest& r, Context&) {
  const Pool pool(r.attributes<PoolAttributes>(), r.inputs[0].dims, r.outputs[0].dims);
  return prepare(r, pool.channels,
                 [=]<typename T, int kVec>(const KernelCall& call, const LaunchShape& shape) {
                   launch("max_pool", max_pool<T, kVec>, shape, call.stream, pool, call.input<T>(0),
                          call.input<T>(0), call.output<T>(0));
                 });
}

PreparedKernel prepare_max_pool_pick(const KernelRequest& r, Context&) {
  const Pool pool(r.attributes<PoolAttributes>(), r.inputs[1].dims, r.outputs[0].dims);
  return prepare(r, pool.channels,
                 [=]<typename T, int kVec>(const KernelCall& call, const LaunchShape& shape) {
                   launch("max_pool_pick", max_pool<T, kVec>, shape, call.stream, pool,
                          call.input<T>(1), call.input<T>(0), call.output<T>(0));
                 });
}

PreparedKernel prepare_max_pool_grad(const KernelRequest& r, Context&) {
  const Pool pool(r.attributes<PoolAttributes>(), r.inputs[1].dims, r.inputs[0].dims);
  return prepare(r, pool.channels,
                 [=]<typename T, int kVec>(const KernelCall& call, const LaunchShape& shape) {
                   launch("max_pool_grad", max_pool_grad<T, kVec>, shape, call.stream, pool,
                          call.input<T>(0), call.input<T>(1), call.output<T>(0));
                 });
}

PreparedKernel prepare_avg_pool(const KernelRequest& r, Context&) {
  const auto& attributes = r.attributes<AvgPoolAttributes>();
  Pool pool(attributes, r.inputs[0].dims, r.outputs[0].dims);
  pool.include_pad = attributes.count_include_pad;
  return prepare(r, pool.channels,
                 [=]<typename T, int kVec>(const KernelCall& call, const LaunchShape& shape) {
                   launch("avg_pool", avg_pool<T, kVec>, shape, call.stream, pool, call.input<T>(0),
                          call.output<T>(0));
                 });
}

PreparedKernel prepare_avg_pool_grad(const KernelRequest& r, Context&) {
  const auto& attributes = r.attributes<AvgPoolGradAttributes>();
  Pool pool(attributes, r.outputs[0].dims, r.inputs[0].dims);
  pool.include_pad = attributes.count_include_pad;
  return prepare(r, pool.channels,
                 [=]<typename T, int kVec>(const KernelCall& call, const LaunchShape& shape) {
                   launch("avg_pool_grad", avg_pool_grad<T, kVec>, shape, call.stream, pool,
                          call.input<T>(0), call.output<T>(0));
                 });
}

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.max_pool", .op = "max_pool", .prepare = prepare_max_pool},
    {.name = "adjoint.max_pool_pick", .op = "max_pool_pick", .prepare = prepare_max_pool_pick},
    {.name = "adjoint.max_pool_grad", .op = "max_pool_grad", .prepare = prepare_max_pool_grad},
    {.name = "adjoint.avg_pool", .op = "avg_pool", .prepare = prepare_avg_pool},
    {.name = "adjoint.avg_pool_grad", .op = "avg_pool_grad", .prepare = prepare_avg_pool_grad},
};

}  // namespace

std::span<const KernelDef> pool_kernels() { return kKernels; }

}  // namespace adjoint::cuda
