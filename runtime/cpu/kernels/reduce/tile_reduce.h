// Reductions over tiles: the partial results of a tile join accumulators that outlive it.
//
// Accuracy. Within a tile (at most kMaxTile elements) floats are added pairwise in their own type,
// 16-bit ones in float; tiles are added in double. The error of a float sum is thus about
// log2(kMaxTile) roundings of float, however long it is. Products are formed in double throughout.
// Integers wrap. The order depends on the shape alone.
#pragma once

#include <cstdint>
#include <string_view>

#include "graph/dtype.h"

namespace adjoint::cpu {

inline constexpr int64_t kMaxTile = 1024;

// An accumulator: double for floats, int64_t for integers.
inline constexpr int64_t kAccumulatorBytes = 8;

struct TileReduce {
  std::string_view kind;  // "sum", "mean", "max", "min", "prod"
  DType dtype;
  // Accumulators of nothing.
  void (*start)(void* accumulators, int64_t count);
  // accumulators[j] joins x[r * inner + j] over all rows r; rows * inner <= kMaxTile.
  void (*fold_rows)(const void* x, int64_t rows, int64_t inner, void* accumulators);
  // One accumulator joins all of x; count <= kMaxTile.
  void (*fold_all)(const void* x, int64_t count, void* accumulator);
  // accumulators[j] joins others[j].
  void (*join)(void* accumulators, const void* others, int64_t count);
  // The results; `size` is the number of elements that each was reduced from.
  void (*finish)(const void* accumulators, int64_t count, int64_t size, void* out);
};

// Null where there is none.
const TileReduce* find_tile_reduce(std::string_view kind, DType dtype);

}  // namespace adjoint::cpu
