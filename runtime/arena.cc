#include "runtime/arena.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

namespace adjoint {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kExhaustive = 2048;  // items up to which the quadratic method is used

size_t padded(size_t bytes) {
  size_t size = (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
  if (size >= kPage && size % kPage == 0) size += kArenaAlignment;
  return size;
}

// Largest first, each into the smallest gap among those whose lifetimes it meets.
size_t place_by_size(std::span<ArenaItem> items, const ItemsApart& apart) {
  std::vector<uint32_t> order(items.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return items[a].bytes > items[b].bytes; });
  std::vector<uint32_t> placed;  // by offset
  size_t total = 0;
  for (uint32_t index : order) {
    ArenaItem& item = items[index];
    const size_t size = padded(item.bytes);
    size_t best = SIZE_MAX, best_gap = SIZE_MAX, end = 0;
    for (uint32_t other_index : placed) {
      const ArenaItem& other = items[other_index];
      const bool reused =
          apart ? apart(index, other_index) : other.last < item.first || item.last < other.first;
      if (reused) continue;
      if (other.offset >= end + size && other.offset - end < best_gap) {
        best = end;
        best_gap = other.offset - end;
      }
      end = std::max(end, other.offset + padded(other.bytes));
    }
    item.offset = best == SIZE_MAX ? end : best;
    total = std::max(total, item.offset + size);
    const auto at = std::upper_bound(
        placed.begin(), placed.end(), item.offset,
        [&](size_t offset, uint32_t other) { return offset < items[other].offset; });
    placed.insert(at, index);
  }
  return total;
}

// Free pieces of memory, found by size and joined with their neighbours.
class FreeList {
 public:
  size_t take(size_t size) {
    if (auto found = by_size_.lower_bound({size, 0}); found != by_size_.end()) {
      const auto [free, offset] = *found;
      remove(offset, free);
      if (free > size) insert(offset + size, free - size);
      return offset;
    }
    // The last piece grows where it touches the end.
    size_t offset = end_;
    if (!by_offset_.empty()) {
      const auto [last, free] = *by_offset_.rbegin();
      if (last + free == end_) {
        offset = last;
        remove(last, free);
      }
    }
    end_ = offset + size;
    return offset;
  }

  void give(size_t offset, size_t size) {
    auto next = by_offset_.lower_bound(offset);
    if (next != by_offset_.begin()) {
      const auto [before, free] = *std::prev(next);
      if (before + free == offset) {
        remove(before, free);
        offset = before;
        size += free;
      }
    }
    next = by_offset_.lower_bound(offset);
    if (next != by_offset_.end() && next->first == offset + size) {
      const auto [after, free] = *next;
      remove(after, free);
      size += free;
    }
    insert(offset, size);
  }

  size_t end() const { return end_; }

 private:
  void insert(size_t offset, size_t size) {
    by_offset_.emplace(offset, size);
    by_size_.emplace(size, offset);
  }
  void remove(size_t offset, size_t size) {
    by_offset_.erase(offset);
    by_size_.erase({size, offset});
  }

  std::map<size_t, size_t> by_offset_;
  std::set<std::pair<size_t, size_t>> by_size_;
  size_t end_ = 0;
};

// In the order of time, best fit: for very many items.
size_t place_by_time(std::span<ArenaItem> items) {
  std::vector<uint32_t> starts(items.size());
  std::iota(starts.begin(), starts.end(), 0);
  std::vector<uint32_t> ends = starts;
  std::stable_sort(starts.begin(), starts.end(),
                   [&](uint32_t a, uint32_t b) { return items[a].first < items[b].first; });
  std::stable_sort(ends.begin(), ends.end(),
                   [&](uint32_t a, uint32_t b) { return items[a].last < items[b].last; });
  FreeList memory;
  size_t ended = 0;
  for (uint32_t index : starts) {
    ArenaItem& item = items[index];
    for (; items[ends[ended]].last < item.first; ++ended) {
      const ArenaItem& over = items[ends[ended]];
      if (over.bytes != 0) memory.give(over.offset, padded(over.bytes));
    }
    if (item.bytes != 0) item.offset = memory.take(padded(item.bytes));
  }
  return memory.end();
}

}  // namespace

size_t assign_offsets(std::span<ArenaItem> items, const ItemsApart& apart) {
  return apart || items.size() <= kExhaustive ? place_by_size(items, apart) : place_by_time(items);
}

}  // namespace adjoint
