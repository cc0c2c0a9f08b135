#include "runtime/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace adjoint {
namespace {

std::vector<ArenaItem> random_items(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<ArenaItem> items(count);
  for (ArenaItem& item : items) {
    item.first = static_cast<int32_t>(random() % count);
    item.last = item.first + static_cast<int32_t>(random() % 8);
    item.bytes = random() % 4 == 0 ? 0 : random() % 20000;
  }
  return items;
}

// The most bytes that live at once: no placement can need less.
size_t most_live(const std::vector<ArenaItem>& items) {
  std::vector<int64_t> change(items.size() + 16, 0);
  for (const ArenaItem& item : items) {
    change[item.first] += static_cast<int64_t>(item.bytes);
    change[item.last + 1] -= static_cast<int64_t>(item.bytes);
  }
  int64_t live = 0, most = 0;
  for (int64_t c : change) most = std::max(most, live += c);
  return static_cast<size_t>(most);
}

void expect_sound(const std::vector<ArenaItem>& items, size_t total) {
  std::vector<const ArenaItem*> by_first;
  for (const ArenaItem& item : items) by_first.push_back(&item);
  std::sort(by_first.begin(), by_first.end(), [](auto* a, auto* b) { return a->first < b->first; });
  for (size_t i = 0; i < by_first.size(); ++i) {
    const ArenaItem& a = *by_first[i];
    ASSERT_EQ(a.offset % kArenaAlignment, 0u);
    ASSERT_LE(a.offset + a.bytes, total);
    for (size_t j = i + 1; j < by_first.size() && by_first[j]->first <= a.last; ++j) {
      const ArenaItem& b = *by_first[j];
      if (a.bytes == 0 || b.bytes == 0) continue;
      ASSERT_TRUE(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset);
    }
  }
}

TEST(Arena, ReusesBytesOfTheDead) {
  std::vector<ArenaItem> items = {{100, 0, 1}, {100, 1, 2}, {100, 2, 3}};
  EXPECT_EQ(assign_offsets(items), 2 * kArenaAlignment);
  EXPECT_EQ(items[0].offset, items[2].offset);
  EXPECT_NE(items[0].offset, items[1].offset);
}

TEST(Arena, FewItemsAreSoundAndTight) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    auto items = random_items(300, seed);
    const size_t total = assign_offsets(items);
    expect_sound(items, total);
    EXPECT_LT(total, most_live(items) * 1.25);
  }
}

TEST(Arena, ManyItemsAreSoundAndTight) {
  auto items = random_items(100000, 1);
  const size_t total = assign_offsets(items);
  expect_sound(items, total);
  EXPECT_LT(total, most_live(items) * 1.5);
}

TEST(Arena, WholePagesDontFollowEachOtherAtEqualLowBits) {
  std::vector<ArenaItem> items(4, {8192, 0, 1});
  assign_offsets(items);
  for (size_t i = 0; i < 4; ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_NE(items[i].offset % 4096, items[j].offset % 4096);
  }
}

TEST(Arena, NothingToPlace) {
  EXPECT_EQ(assign_offsets({}), 0u);
  std::vector<ArenaItem> empty(5);
  EXPECT_EQ(assign_offsets(empty), 0u);
}

}  // namespace
}  // namespace adjoint
