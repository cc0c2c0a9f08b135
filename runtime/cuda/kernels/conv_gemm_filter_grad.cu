#include <algorithm>

#include "runtime/cuda/device/gemm_tile.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_gemm_resident_filter.h"
#include "runtime/cuda/kernels/conv_sizes.h"
#include "runtime/cuda/kernels/direct_sum.h"

namespace adjoint::cuda {
namespace {

// Division of numbers below 2^31 by a product and a shift.
struct Divisor {
  uint32_t divisor, factor = 0, shift = 0;

  explicit Divisor(int d) : divisor(static_cast<uint32_t>(d)) {
    while ((uint64_t{1} << shift) < divisor) ++shift;
    factor = static_cast<uint32_t>(((((uint64_t{1} << shift) - divisor) << 32) / divisor) + 1);
  }
  __device__ int divide(int number) const {
    const auto n = static_cast<uint32_t>(number);
    return static_cast<int>((static_cast<uint32_t>((uint64_t{n} * factor) >> 32) + n) >> shift);
  }
};

// The rows are channels of y, the columns taps and channels of x, as the result has them; k are
// pixels of y. Blocks share the pixels, besides the warps.
using Tile =
    GemmTile<CoreProduct<TileSide<12, 4, Order::k_outer>, TileSide<8, 8, Order::k_outer>>, 8, 2>;

struct Arguments {
  ConvSizes s;
  Divisor width, height;
  int parts;

  Arguments(const ConvGeometry& g, int part_count)
      : s(g), width(s.width.y), height(s.height.y), parts(part_count) {}
};

// Lanes copy quads of the pixels' channels: half a warp those of a pixel of x.
struct Copy {
  static constexpr int kRowQuads = Tile::Rows::kSize / 4, kColumnQuads = Tile::Columns::kSize / 4;
  static constexpr int kRows = Tile::Rows::kPacks / 32, kColumns = Tile::Columns::kPacks / 32;
  static_assert(kColumnQuads == 16);

  const Arguments& a;
  const float *x, *dy;
  int pixel, lane;
  int row_at[kRows];
  bool has_row[kRows], has_column;
  int down, right, channel;  // of the lane's column

  __device__ Copy(const float* x_, const float* dy_, const Arguments& a_, int step)
      : a(a_), x(x_), dy(dy_), pixel(step * Tile::kStep), lane(threadIdx.x % 32) {
    for (int i = 0; i < kRows; ++i) {
      const int number = lane + 32 * i;
      const int row = blockIdx.y * Tile::Rows::kSize + number % kRowQuads * 4;
      row_at[i] = number / kRowQuads * a.s.o + row;
      has_row[i] = row < a.s.o;
    }
    const int column = blockIdx.x * Tile::Columns::kSize + lane % kColumnQuads * 4;
    const int tap = column / a.s.c, row = tap / a.s.width.filter;
    has_column = column < a.s.depth();
    channel = column - tap * a.s.c;
    down = row * a.s.height.dilation - a.s.height.pad;
    right = (tap - row * a.s.width.filter) * a.s.width.dilation - a.s.width.pad;
  }

  __device__ void operator()(Tile::Stage stage) {
    const ConvSizes& s = a.s;
    const int end = s.pixels();
    const Shared<FullPack<float>> rows = stage.rows(), columns = stage.columns();
    for (int i = 0; i < kRows; ++i) {
      const int number = lane + 32 * i;
      begin_copy(&rows[number], dy + (pixel * s.o + row_at[i]),
                 has_row[i] && pixel + number / kRowQuads < end);
    }
    for (int i = 0; i < kColumns; ++i) {
      const int at = pixel + lane / kColumnQuads + 2 * i;
      const int image_row = a.width.divide(at), image = a.height.divide(image_row);
      const int h = (image_row - image * s.height.y) * s.height.stride + down;
      const int w = (at - image_row * s.width.y) * s.width.stride + right;
      const bool inside = static_cast<unsigned>(h) < static_cast<unsigned>(s.height.x) &&
                          static_cast<unsigned>(w) < static_cast<unsigned>(s.width.x);
      const int place = ((image * s.height.x + h) * s.width.x + w) * s.c + channel;
      begin_copy(&columns[lane + 32 * i], x + place, has_column && inside && at < end);
    }
    pixel += Tile::kStep;
  }
};

__global__ void __launch_bounds__(Tile::kThreads, 1)
    filter_grad(const float* x, const float* dy, float* parts,
                const __grid_constant__ Arguments a) {
  begin_kernel();
  const GemmShare share(blockIdx.z * Tile::kWarps + threadIdx.x / 32, a.parts * Tile::kWarps,
                        tiles_of(a.s.pixels(), Tile::kStep));
  Copy copy(x, dy, a, share.first);
  Tile::Sums sums = {};
  Tile::accumulate(copy, share.end - share.first, sums);
  const int depth = a.s.depth();
  float* const part = parts + static_cast<int64_t>(blockIdx.z) * a.s.o * depth;
  Tile::add_warps(sums, [&](int row, int column, Tile::Vector values) {
    row += blockIdx.y * Tile::Rows::kSize;
    column += blockIdx.x * Tile::Columns::kSize;
    if (row < a.s.o && column < depth) store_pack(part + (row * depth + column), values);
  });
}

__global__ void add_parts(const float* parts, float* result, int count, int part_count) {
  begin_kernel();
  const int64_t i = thread_number();
  if (i >= count) return;
  float sum = parts[i];
  for (int part = 1; part < part_count; ++part) {
    sum += parts[static_cast<int64_t>(part) * count + i];
  }
  result[i] = sum;
}

dim3 tiles_of_result(const ConvGeometry& g) {
  return dim3(tiles_of(g.filter_size() / g.y_channels, Tile::Columns::kSize),
              tiles_of(g.y_channels, Tile::Rows::kSize));
}

}  // namespace

bool fits_conv_gemm_filter_grad(const ConvGeometry& g, ConvGemmMath math, size_t shared_bytes) {
  return fits_conv_gemm(g, math) &&
         (math == ConvGemmMath::cores || fits_resident_filter_grad(g, math, shared_bytes));
}

int conv_gemm_filter_parts(const ConvGeometry& g, ConvGemmMath math, int multiprocessors) {
  if (math != ConvGemmMath::cores) return resident_filter_parts(g, multiprocessors);
  constexpr int64_t kPixelsEach = 16 * Tile::kWarps;  // at least, or adding the parts costs more
  const dim3 tiles = tiles_of_result(g);
  const int64_t pixels = g.y_size() / g.y_channels;
  const int64_t parts =
      std::min<int64_t>(multiprocessors / (int64_t{tiles.x} * tiles.y), pixels / kPixelsEach);
  return static_cast<int>(std::max<int64_t>(parts, 1));
}

size_t conv_gemm_filter_workspace(const ConvGeometry& g, ConvGemmMath math, int parts) {
  const bool is_result = math == ConvGemmMath::cores && parts == 1;
  return is_result ? 0 : parts * g.filter_size() * sizeof(float);
}

void conv_gemm_filter_grad(const ConvGeometry& g, ConvGemmMath math, int parts,
                           const ConvGemmCall& call) {
  if (math != ConvGemmMath::cores) return resident_filter_grad(g, math, parts, call);
  auto* const result = static_cast<float*>(call.result);
  auto* const sums = parts == 1 ? result : static_cast<float*>(call.workspace);
  dim3 grid = tiles_of_result(g);
  grid.z = parts;
  launch("conv_gemm_filter_grad", filter_grad,
         {.grid = grid, .block = dim3(Tile::kThreads), .shared_bytes = Tile::kSharedBytes},
         call.stream, static_cast<const float*>(call.x), static_cast<const float*>(call.y), sums,
         Arguments(g, parts));
  if (parts == 1) return;
  const int64_t count = g.filter_size();
  launch("conv_gemm_add_parts", add_parts, one_thread_each(count), call.stream, sums, result,
         static_cast<int>(count), parts);
}

}  // namespace adjoint::cuda
