// The filter's gradient on tensor cores, in TF32, which holds bf16 exactly: a block has one image
// of x and of dy after the other in shared memory, the next ones on their way, and reads neither
// again for each tap. The rows are channels of y, the columns taps and channels of x, as the result
// has them; k are the pixels of y. Blocks share the images, besides the warps each image's pixels.
#include <algorithm>

#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/last_block.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/conv_gemm.h"
#include "runtime/cuda/kernels/conv_gemm_copy.h"
#include "runtime/cuda/kernels/conv_gemm_resident.h"
#include "runtime/cuda/kernels/conv_gemm_resident_filter.h"
#include "runtime/cuda/kernels/part_sums.h"

namespace adjoint::cuda {
namespace {

constexpr int kRowTiles = 3, kColumnTiles = 8;
constexpr int kRows = 16 * kRowTiles, kColumns = 8 * kColumnTiles;
using Tile = WarpSums<TensorProduct<float, TensorSide<float, kRows, Order::k_inner>,
                                    TensorSide<float, kColumns, Order::k_inner>>,
                      8>;
constexpr int kStep = kGemmStep<float>;
constexpr int kStages = 4;  // images at a time

// Where things lie in shared memory, in elements of T: stages, each an image of x and one of dy.
// Behind them is a table: where a pixel of y has what it sees at the first tap.
template <typename T>
struct Layout {
  ResidentImage<T> x, dy;
  int steps;  // of an image's pixels

  ADJOINT_HOST_DEVICE explicit Layout(const ConvSizes& s)
      : x(ResidentImage<T>::of_x(s)),
        dy(ResidentImage<T>::of_result(s)),
        steps(tiles_of(s.height.y * s.width.y, kStep)) {}
  ADJOINT_HOST_DEVICE int stage() const { return x.size() + dy.size(); }
  ADJOINT_HOST_DEVICE int table_at() const {
    return kStages * stage() * static_cast<int>(sizeof(T));
  }
  size_t bytes() const {
    return std::max<size_t>(table_at() + steps * kStep * sizeof(int), Tile::kSumBytes);
  }
  __device__ Shared<int> table() const { return shared_memory<int>(steps * kStep, table_at()); }
};

// Begins to copy an image of x and of dy.
template <typename T>
__device__ inline void bring(const T* x, const T* dy, const Layout<T>& layout, int image,
                             int stage) {
  const auto copy = [&](int offset, const T* images, const ResidentImage<T>& at) {
    const int size = at.rows.size * at.columns.size * at.depth;
    copy_image_to(offset * static_cast<int>(sizeof(T)), images + image * size, at, Tile::kThreads);
  };
  copy(stage * layout.stage(), x, layout.x);
  copy(stage * layout.stage() + layout.x.size(), dy, layout.dy);
}

template <typename T>
__device__ inline uint32_t tf32_word_if(bool is_there, const Shared<T>& values, int at) {
  return is_there ? mma_word(Pack<float, 1>{{widen(values[at])}}) : 0;
}

// What a lane reads of any pixel, in elements of T: of dy the channels that are its rows, of x from
// the first tap on what its columns see.
template <typename T>
struct Lane {
  int rows[kRowTiles][2], columns[kColumnTiles];

  __device__ Lane(const ConvSizes& s, const Layout<T>& layout) {
    const int group = threadIdx.x % 32 / 4;  // rows and columns past the end are not stored
    for (int i = 0; i < kRowTiles; ++i) {
      for (int half = 0; half < 2; ++half) {
        rows[i][half] =
            min(static_cast<int>(blockIdx.y) * kRows + 16 * i + 8 * half + group, s.o - 1);
      }
    }
    for (int j = 0; j < kColumnTiles; ++j) {
      const int column =
          min(static_cast<int>(blockIdx.x) * kColumns + 8 * j + group, s.depth() - 1);
      const int tap = column / s.c, row = tap / s.width.filter;
      const int right = (tap - row * s.width.filter) * s.width.dilation;
      columns[j] = layout.x.step(row * s.height.dilation, right) + column - tap * s.c;
    }
  }
};

// The warp's share of an image.
template <typename T>
__device__ inline void add_image(const Layout<T>& layout, const Lane<T>& lane, int pixels,
                                 int stage, Tile::Sums& sums) {
  constexpr int kBytes = static_cast<int>(sizeof(T));
  const int offset = stage * layout.stage() * kBytes;
  const Shared<T> x = shared_memory<T>(layout.x.size(), offset);
  const Shared<T> dy = shared_memory<T>(layout.dy.size(), offset + layout.x.size() * kBytes);
  const Shared<int> table = layout.table();
  for (int step = threadIdx.x / 32; step < layout.steps; step += Tile::kWarps) {
    uint32_t a[kRowTiles][4], b[kColumnTiles][2];
    for (int half = 0; half < 2; ++half) {
      const int pixel = kStep * step + 4 * half + static_cast<int>(threadIdx.x) % 4;
      const bool is_there = pixel < pixels;
      const int from = table[pixel];
      for (int i = 0; i < kRowTiles; ++i) {
        for (int other = 0; other < 2; ++other) {
          a[i][2 * half + other] =
              tf32_word_if(is_there, dy, pixel * layout.dy.pixel + lane.rows[i][other]);
        }
      }
      for (int j = 0; j < kColumnTiles; ++j) {
        b[j][half] = tf32_word_if(is_there, x, from + lane.columns[j]);
      }
    }
    mma<float>(sums, a, b);
  }
}

// The block's tile of the result, which has the channels of y as rows.
struct ResultTile {
  int first_row, first_column, rows, columns, size;

  __device__ explicit ResultTile(const ConvSizes& s)
      : first_row(static_cast<int>(blockIdx.y) * kRows),
        first_column(static_cast<int>(blockIdx.x) * kColumns),
        rows(s.o),
        columns(s.depth()),
        size(rows * columns) {}
  __device__ bool has(int row, int column) const {
    return first_row + row < rows && first_column + column < columns;
  }
  __device__ int at(int row, int column) const {
    return (first_row + row) * columns + first_column + column;
  }
};

template <typename T>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    add_images(const T* x, const T* dy, float* parts, T* result, unsigned* tickets,
               const __grid_constant__ ConvSizes s, int part_count) {
  begin_kernel();
  const Layout<T> layout(s);
  const int pixels = s.height.y * s.width.y;
  const Shared<int> table = layout.table();
  for (int pixel = threadIdx.x; pixel < layout.steps * kStep; pixel += Tile::kThreads) {
    const int row = pixel / s.width.y, column = pixel - row * s.width.y;
    table[pixel] =
        pixel < pixels ? layout.x.step(row * s.height.stride, column * s.width.stride) : 0;
  }
  const GemmShare images(blockIdx.z, part_count, s.batch);
  for (int i = 0; i < kStages - 1; ++i) {
    if (images.first + i < images.end) bring(x, dy, layout, images.first + i, i);
    end_copies();
  }
  const Lane<T> lane(s, layout);
  Tile::Sums sums = {};
  for (int image = images.first; image < images.end; ++image) {
    wait_for_copies<kStages - 2>();
    __syncthreads();
    const int next = image + kStages - 1;
    if (next < images.end) bring(x, dy, layout, next, (next - images.first) % kStages);
    end_copies();
    add_image(layout, lane, pixels, (image - images.first) % kStages, sums);
  }
  const ResultTile tile(s);
  float* const part = parts + static_cast<int64_t>(blockIdx.z) * tile.size;
  Tile::add_warps(sums, [&](int row, int column, Tile::Vector values) {
    if (tile.has(row, column)) store_pack(part + tile.at(row, column), values);
  });
  unsigned* const ticket = tickets + blockIdx.y * gridDim.x + blockIdx.x;
  if (!is_last_block(ticket, part_count, shared_memory<int>(1))) return;
  for (int i = 4 * threadIdx.x; i < kRows * kColumns; i += 4 * Tile::kThreads) {
    const int row = i / kColumns, column = i % kColumns;
    if (!tile.has(row, column)) continue;
    const int at = tile.at(row, column);
    store_pack(result + at, narrowed<T>(sum_of(parts, part_count, tile.size, at)));
  }
}

dim3 tiles_of_result(const ConvGeometry& g) {
  return dim3(tiles_of(g.filter_size() / g.y_channels, kColumns), tiles_of(g.y_channels, kRows));
}

template <typename T>
void launch_resident(const ConvGeometry& g, int parts, const ConvGemmCall& call) {
  dim3 grid = tiles_of_result(g);
  grid.z = parts;
  launch("conv_gemm_filter_grad_resident", add_images<T>,
         {.grid = grid,
          .block = dim3(Tile::kThreads),
          .shared_bytes = Layout<T>(ConvSizes(g)).bytes()},
         call.stream, static_cast<const T*>(call.x), static_cast<const T*>(call.y),
         static_cast<float*>(call.workspace), static_cast<T*>(call.result), call.tickets,
         ConvSizes(g), parts);
}

}  // namespace

bool fits_resident_filter_grad(const ConvGeometry& g, ConvGemmMath math, size_t shared_bytes) {
  const dim3 tiles = tiles_of_result(g);
  if (std::max(g.x_channels, g.y_channels) > kMostResidentChannels ||
      tiles.x * tiles.y > kTickets) {
    return false;
  }
  const ConvSizes s(g);
  return (math == ConvGemmMath::bf16 ? Layout<Bf16>(s).bytes() : Layout<float>(s).bytes()) <=
         shared_bytes;
}

int resident_filter_parts(const ConvGeometry& g, int multiprocessors) {
  constexpr int64_t kImagesEach = 4;  // at least, or adding the parts costs more
  const dim3 tiles = tiles_of_result(g);
  const int64_t parts =
      std::min<int64_t>(multiprocessors / (int64_t{tiles.x} * tiles.y), g.batch / kImagesEach);
  return static_cast<int>(std::max<int64_t>(parts, 1));
}

void resident_filter_grad(const ConvGeometry& g, ConvGemmMath math, int parts,
                          const ConvGemmCall& call) {
  if (math == ConvGemmMath::bf16) return launch_resident<Bf16>(g, parts, call);
  launch_resident<float>(g, parts, call);
}

}  // namespace adjoint::cuda
