#include "runtime/cpu/kernels/gemm.h"

#include <algorithm>

#include "runtime/cpu/kernels/tile.h"
#include "runtime/cpu/kernels/transpose.h"
#include "runtime/cpu/threads.h"

namespace adjoint::cpu {
namespace {

constexpr int64_t kPackedBytes = 72 * 1024;  // of one panel of B: on the stack, in the second cache
constexpr int64_t kShards = 16;              // enough to balance a few threads
constexpr int64_t kLeastRows = 96;           // for each shard, since each packs its panel anew

int64_t ceil_of(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

template <typename T>
Gemm<T>::Gemm(const GemmShape& shape) : shape_(shape) {
  if (shape.m == 0 || shape.n == 0) return;
  // The panel width that wastes the fewest columns.
  const int64_t narrow = 4 * kHalfLanes<T>;
  panel_ = ceil_of(shape.n, kMaxPanel<T>) * kMaxPanel<T> < ceil_of(shape.n, narrow) * narrow
               ? kMaxPanel<T>
               : narrow;
  panels_ = ceil_of(shape.n, panel_);
  row_parts_ = std::clamp(shape.m / kLeastRows, int64_t{1}, ceil_of(kShards, panels_));
}

template <typename T>
void Gemm<T>::pack(const T* b, int64_t first_k, int64_t k, int64_t first_column, int64_t columns,
                   int64_t width, T* packed) const {
  if (width > columns) {
    for (int64_t q = 0; q < k; ++q) {
      std::fill(packed + q * width + columns, packed + (q + 1) * width, T{});
    }
  }
  if (shape_.transpose_b) {
    transpose_into(b + first_column * shape_.k + first_k, shape_.k, columns, k, packed, width);
    return;
  }
  const T* from = b + first_k * shape_.n + first_column;
  for (int64_t q = 0; q < k; ++q) std::copy_n(from + q * shape_.n, columns, packed + q * width);
}

template <typename T>
void Gemm<T>::run(int64_t shard, const T* a, const T* b, T* c) const {
  const auto& [m, n, k, transpose_a, transpose_b] = shape_;
  const int64_t column = shard % panels_ * panel_;
  const int64_t part = shard / panels_;
  const int64_t begin = shard_begin(m, row_parts_, part);
  const int64_t end = shard_begin(m, row_parts_, part + 1);
  const int64_t columns = std::min(panel_, n - column);
  const int halves = panel_halves<T>(columns);
  const int64_t width = halves * kHalfLanes<T>;
  const int most_rows = max_tile_rows(halves);

  alignas(64) T packed[kPackedBytes / sizeof(T)];
  const int64_t blocks = std::max<int64_t>(ceil_of(k * width, kPackedBytes / sizeof(T)), 1);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t first = shard_begin(k, blocks, block);
    const Run run{.a = 0, .b = 0, .length = shard_begin(k, blocks, block + 1) - first};
    pack(b, first, run.length, column, columns, width, packed);
    TileCall<T> call{.a = nullptr,
                     .row = transpose_a ? 1 : k,
                     .step = transpose_a ? m : 1,
                     .b = packed,
                     .pitch = width,
                     .runs = {&run, 1},
                     .c = nullptr,
                     .c_row = n,
                     .columns = static_cast<int>(columns),
                     .b_columns = static_cast<int>(width),
                     .accumulate = block > 0};
    for (int64_t row = begin; row < end; row += most_rows) {
      const int rows = static_cast<int>(std::min<int64_t>(most_rows, end - row));
      call.a = a + (transpose_a ? first * m + row : row * k + first);
      call.c = c + row * n + column;
      tile_for<T>(rows, halves)(call);
    }
  }
}

template class Gemm<float>;
template class Gemm<double>;

}  // namespace adjoint::cpu
