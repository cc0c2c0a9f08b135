// Offsets of buffers with known lifetimes in one piece of memory.
//
//   std::vector<ArenaItem> items = {{100, 0, 1}, {100, 1, 2}, {100, 2, 3}};
//   size_t size = assign_offsets(items);     // the first and third share bytes
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace adjoint {

// cuBLASLt wants its workspace aligned so; a CPU's vectors and a GPU's accesses need less.
inline constexpr size_t kArenaAlignment = 256;

struct ArenaItem {
  size_t bytes = 0;
  int32_t first = 0;  // lives in [first, last]
  int32_t last = 0;
  size_t offset = 0;  // the answer, a multiple of kArenaAlignment
};

// Places the items so that those whose lifetimes meet don't overlap, and returns the bytes needed.
// Large items start off multiples of 4 KB of each other, so that loads don't wait for stores of
// other buffers with equal low address bits.
//
// `apart`, where given, tells of two items, by position, whether they may share bytes, in place of
// lifetimes: for items that are not used in one order. It is asked about all pairs.
using ItemsApart = std::function<bool(size_t, size_t)>;
size_t assign_offsets(std::span<ArenaItem> items, const ItemsApart& apart = nullptr);

}  // namespace adjoint
