// Tiles (tile.h) of few columns, at most half a vector of them, that lie in several stacks of rows:
// row r of stack s is A's element s * stack + r and C's row s * c_stack + r * c_row.
//
// With few columns a tile waits for its reads; here all stacks share those of B. The rows of a
// filter are such stacks in the gradient for it.
#pragma once

#include "runtime/cpu/kernels/tile.h"

namespace adjoint::cpu {

template <typename T>
struct StackedCall : TileCall<T> {  // whose row is 1, and which accumulates
  ptrdiff_t stack;
  ptrdiff_t c_stack;
};
template <typename T>
using StackedTile = void (*)(const StackedCall<T>&);

inline constexpr int kMaxStacks = 5;
// As many stacks of some rows as there are registers for; 1 where tile_for's tiles do as well.
constexpr int max_stacks(int rows) {
  return kVectorRegisters < 32 ? 1 : std::clamp(28 / rows, 1, kMaxStacks);
}
// The tile for 1 < stacks <= max_stacks(rows).
template <typename T>
StackedTile<T> stacked_tile_for(int rows, int stacks);

}  // namespace adjoint::cpu
