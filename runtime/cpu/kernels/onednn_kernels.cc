// oneDNN's products and convolutions, single-threaded over our shards. They stand behind our own
// kernels, which are as fast where this was measured (benchmarks/conv_benchmark.cc), start at once
// and give the same bits whatever oneDNN's version; a recorded choice can name these instead.
#include <algorithm>
#include <cstddef>
#include <vector>

#include "ops/conv.h"
#include "ops/linalg.h"
#include "runtime/cpu/kernels/conv/geometry.h"
#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/products.h"
#include "runtime/cpu/kernels/widened.h"
#include "runtime/cpu/onednn.h"

namespace adjoint::cpu {
namespace {

std::byte* bytes_at(void* workspace, size_t offset) {
  return static_cast<std::byte*>(workspace) + offset;
}

// Products: C in bands of rows or columns, whichever there are more of.

struct OneDnnProducts {
  explicit OneDnnProducts(const KernelRequest& request) : products(products_of(request)) {
    const GemmShape& s = products.shape;
    by_columns = s.n > s.m;
    const int64_t size = by_columns ? s.n : s.m;
    const int64_t parts =
        std::clamp<int64_t>(static_cast<int64_t>(products.flops() / products.count() / 4e6), 1, 16);
    band = std::max<int64_t>((size + parts - 1) / parts + 15, 16) / 16 * 16;
    bands = (size + band - 1) / band;
    for (int64_t part : {int64_t{0}, bands - 1}) {
      const int64_t length = std::min(band, size - part * band);
      const int64_t m = by_columns ? s.m : length, n = by_columns ? length : s.n;
      const onednn::Matrix a{m, s.k, s.transpose_a ? 1 : s.k, s.transpose_a ? s.m : 1};
      const onednn::Matrix b{s.k, n, s.transpose_b ? 1 : s.n, s.transpose_b ? s.k : 1};
      primitives.emplace_back(a, b, onednn::Matrix{m, n, s.n, 1});
    }
    scratchpad =
        aligned_bytes(std::max(primitives[0].scratchpad_bytes(), primitives[1].scratchpad_bytes()));
  }

  int64_t shards() const { return bands * products.count(); }
  void run(int64_t shard, const KernelCall& call) const {
    const GemmShape& s = products.shape;
    const int64_t i = shard / bands, part = shard % bands, first = part * band;
    const float* a = call.input<float>(0) + products.a[i];
    const float* b = call.input<float>(1) + products.b[i];
    float* c = call.output<float>(0) + i * s.m * s.n;
    if (by_columns) {
      b += first * (s.transpose_b ? s.k : 1);
      c += first;
    } else {
      a += first * (s.transpose_a ? 1 : s.k);
      c += first * s.n;
    }
    primitives[part == bands - 1 ? 1 : 0].run(a, b, c,
                                              bytes_at(call.workspace, shard * scratchpad));
  }

  Products products;
  bool by_columns;
  int64_t band, bands;
  std::vector<onednn::Matmul> primitives;  // of a whole band, of the last one
  size_t scratchpad;
};

bool is_f32_product(const KernelRequest& request) {
  const Products products = products_of(request);
  return request.inputs[0].dtype == DType::f32 &&
         request.attributes<MatmulAttributes>().accumulate == DType::f32 && products.flops() > 0;
}

KernelFacts describe_matmul(const KernelRequest& request) {
  const OneDnnProducts products(request);
  return {.workspace_bytes = products.shards() * products.scratchpad,
          .flops = products.products.flops()};
}

PreparedKernel prepare_matmul(const KernelRequest& request) {
  return [products = OneDnnProducts(request)](const KernelCall& call) {
    call.threads.parallel_for(products.shards(), [&](int64_t shard) { products.run(shard, call); });
  };
}

// Convolutions: the batch in equal parts.

using Direction = onednn::Convolution::Direction;

template <typename A, size_t kX, size_t kY, size_t kFilter>
ConvGeometry geometry_of(const KernelRequest& r) {
  // Operands in order, the output after them.
  auto dims = [&](size_t i) { return i < 2 ? r.inputs[i].dims : r.outputs[0].dims; };
  return conv_geometry(r.attributes<A>(), dims(kX), dims(kY), dims(kFilter));
}
ConvGeometry geometry_of(const KernelRequest& r, Direction direction) {
  switch (direction) {
    case Direction::forward:
      return geometry_of<Conv2dAttributes, 0, 2, 1>(r);
    case Direction::input_grad:
      return geometry_of<Conv2dInputGradAttributes, 2, 0, 1>(r);
    default:
      return geometry_of<Conv2dFilterGradAttributes, 0, 1, 2>(r);
  }
}

int64_t pad_high(const ConvAxis& axis) {
  return (axis.y - 1) * axis.stride + (axis.filter - 1) * axis.dilation + 1 - axis.x - axis.pad;
}

onednn::ConvolutionShape shape_of(const ConvGeometry& g, int64_t batch) {
  onednn::ConvolutionShape shape{
      .batch = batch, .x_channels = g.x_channels, .y_channels = g.y_channels};
  for (int i = 0; i < 2; ++i) {
    const ConvAxis& axis = g.axes[i];
    shape.x[i] = axis.x;
    shape.y[i] = axis.y;
    shape.filter[i] = axis.filter;
    shape.stride[i] = axis.stride;
    shape.dilation[i] = axis.dilation;
    shape.pad_low[i] = axis.pad;
    shape.pad_high[i] = pad_high(axis);
  }
  return shape;
}

int64_t parts_of(int64_t batch) {
  int64_t parts = (batch + 15) / 16;
  while (batch % parts != 0) ++parts;
  return parts;
}

struct OneDnnConvolution {
  OneDnnConvolution(const ConvGeometry& g, Direction direction)
      : geometry(g),
        parts(parts_of(g.batch)),
        primitive(direction, shape_of(g, g.batch / parts)),
        filter_bytes(aligned_bytes(primitive.filter_bytes())),
        scratchpad(aligned_bytes(primitive.scratchpad_bytes())) {}

  // Of x and y.
  std::pair<int64_t, int64_t> part_sizes() const {
    const auto& [height, width] = geometry.axes;
    const int64_t images = geometry.batch / parts;
    return {images * height.x * width.x * geometry.x_channels,
            images * height.y * width.y * geometry.y_channels};
  }

  ConvGeometry geometry;
  int64_t parts;
  onednn::Convolution primitive;
  size_t filter_bytes, scratchpad;
};

template <typename A, Direction kDirection>
bool is_f32_convolution(const KernelRequest& request) {
  const ConvGeometry g = geometry_of(request, kDirection);
  const bool padded_as_usual = pad_high(g.axes[0]) >= 0 && pad_high(g.axes[1]) >= 0;
  return request.inputs[0].dtype == DType::f32 &&
         request.attributes<A>().accumulate == DType::f32 && g.groups == 1 && padded_as_usual &&
         g.flops() > 0;
}

// One filter, or one sum for each part, and the scratchpads.
template <Direction kDirection>
KernelFacts describe_convolution(const KernelRequest& request) {
  const OneDnnConvolution conv(geometry_of(request, kDirection), kDirection);
  const size_t filters = kDirection == Direction::filter_grad ? conv.parts : 1;
  return {.workspace_bytes = filters * conv.filter_bytes + conv.parts * conv.scratchpad,
          .flops = conv.geometry.flops()};
}

template <Direction kDirection>
PreparedKernel prepare_convolution(const KernelRequest& request) {
  return [conv = OneDnnConvolution(geometry_of(request, kDirection), kDirection)](
             const KernelCall& call) {
    auto [from, to] = conv.part_sizes();
    if (kDirection == Direction::input_grad) std::swap(from, to);
    void* scratchpads = bytes_at(call.workspace, conv.filter_bytes);
    conv.primitive.load_filter(call.input<float>(1), call.workspace, scratchpads);
    call.threads.parallel_for(conv.parts, [&, from = from, to = to](int64_t part) {
      conv.primitive.run(call.input<float>(0) + part * from, call.workspace,
                         call.output<float>(0) + part * to,
                         bytes_at(scratchpads, part * conv.scratchpad));
    });
  };
}

PreparedKernel prepare_filter_grad(const KernelRequest& request) {
  constexpr auto kDirection = Direction::filter_grad;
  return [conv = OneDnnConvolution(geometry_of(request, kDirection), kDirection)](
             const KernelCall& call) {
    const auto [x_size, y_size] = conv.part_sizes();
    void* scratchpads = bytes_at(call.workspace, conv.parts * conv.filter_bytes);
    call.threads.parallel_for(conv.parts, [&, x = x_size, y = y_size](int64_t part) {
      conv.primitive.run(call.input<float>(0) + part * x, call.input<float>(1) + part * y,
                         bytes_at(call.workspace, part * conv.filter_bytes),
                         bytes_at(scratchpads, part * conv.scratchpad));
    });
    auto* sums = static_cast<float*>(call.workspace);
    const auto size = static_cast<int64_t>(conv.filter_bytes / sizeof(float));
    const int64_t shards = shard_count(size, 1 << 13);
    call.threads.parallel_for(shards, [&](int64_t shard) {
      const int64_t begin = shard_begin(size, shards, shard);
      const int64_t end = shard_begin(size, shards, shard + 1);
      for (int64_t part = 1; part < conv.parts; ++part) {
        for (int64_t i = begin; i < end; ++i) sums[i] += sums[part * size + i];
      }
    });
    conv.primitive.store_filter(call.workspace, call.output<float>(0), scratchpads);
  };
}

constexpr KernelDef kKernels[] = {
    {.name = "onednn.matmul",
     .op = "matmul",
     .supports = is_f32_product,
     .describe = describe_matmul,
     .prepare = prepare_matmul},
    {.name = "onednn.conv2d",
     .op = "conv2d",
     .supports = is_f32_convolution<Conv2dAttributes, Direction::forward>,
     .describe = describe_convolution<Direction::forward>,
     .prepare = prepare_convolution<Direction::forward>},
    {.name = "onednn.conv2d_input_grad",
     .op = "conv2d_input_grad",
     .supports = is_f32_convolution<Conv2dInputGradAttributes, Direction::input_grad>,
     .describe = describe_convolution<Direction::input_grad>,
     .prepare = prepare_convolution<Direction::input_grad>},
    {.name = "onednn.conv2d_filter_grad",
     .op = "conv2d_filter_grad",
     .supports = is_f32_convolution<Conv2dFilterGradAttributes, Direction::filter_grad>,
     .describe = describe_convolution<Direction::filter_grad>,
     .prepare = prepare_filter_grad},
};

}  // namespace

std::span<const KernelDef> onednn_kernels() { return kKernels; }

}  // namespace adjoint::cpu
