#include "runtime/cpu/kernels/strided_copy.h"

#include <algorithm>
#include <cstring>

namespace adjoint::cpu {
namespace {

constexpr int64_t kRowBytes = 1 << 16;  // longer rows are cut
constexpr int64_t kShardBytes = 1 << 17;
constexpr int64_t kBlock = 32;  // rows of a transposed block

template <typename Visit>
void visit_size(size_t size, Visit&& visit) {
  switch (size) {
    case 1:
      return visit.template operator()<uint8_t>();
    case 2:
      return visit.template operator()<uint16_t>();
    case 4:
      return visit.template operator()<uint32_t>();
    default:
      return visit.template operator()<uint64_t>();
  }
}

template <typename Element>
Element& at(std::byte* base, int64_t offset) {
  return *reinterpret_cast<Element*>(base + offset);
}
template <typename Element>
const Element& at(const std::byte* base, int64_t offset) {
  return *reinterpret_cast<const Element*>(base + offset);
}

template <typename Element>
void copy_row(const std::byte* from, int64_t from_stride, std::byte* to, int64_t to_stride,
              int64_t count) {
  constexpr int64_t kSize = sizeof(Element);
  if (to_stride == kSize && from_stride == kSize) {
    std::memcpy(to, from, count * kSize);
  } else if (to_stride == kSize && from_stride == 0) {
    std::fill_n(&at<Element>(to, 0), count, at<Element>(from, 0));
  } else if (from_stride == kSize) {
    for (int64_t i = 0; i < count; ++i)
      at<Element>(to, i * to_stride) = at<Element>(from, i * kSize);
  } else {
    for (int64_t i = 0; i < count; ++i) {
      at<Element>(to, i * to_stride) = at<Element>(from, i * from_stride);
    }
  }
}

}  // namespace

StridedCopy::StridedCopy(const std::vector<int64_t>& dims, const std::vector<int64_t>& from,
                         const std::vector<int64_t>& to, size_t element_size)
    : element_size_(element_size) {
  const auto size = static_cast<int64_t>(element_size);
  int64_t bytes = size;
  for (size_t i = 0; i < dims.size(); ++i) {
    bytes *= dims[i];
    if (dims[i] != 1) outer_.push_back({dims[i], from[i] * size, to[i] * size});
  }
  if (bytes == 0) return;
  simplify();
  choose_inner();
  units_ = (block_.size + kBlock - 1) / kBlock;
  for (const Loop& loop : outer_) units_ *= loop.size;
  shards_ = std::min(units_, shard_count(bytes, kShardBytes));
}

// Sorts the loops so that `to` is written in order, and joins those that go through both layouts as
// one.
void StridedCopy::simplify() {
  std::ranges::stable_sort(outer_, [](const Loop& a, const Loop& b) { return a.to > b.to; });
  std::vector<Loop> joined;
  for (const Loop& loop : outer_) {
    if (!joined.empty() && joined.back().from == loop.from * loop.size &&
        joined.back().to == loop.to * loop.size) {
      joined.back() = {joined.back().size * loop.size, loop.from, loop.to};
    } else {
      joined.push_back(loop);
    }
  }
  outer_ = std::move(joined);
}

void StridedCopy::choose_inner() {
  const auto size = static_cast<int64_t>(element_size_);
  if (outer_.empty()) return;
  inner_ = outer_.back();
  outer_.pop_back();
  if (inner_.to == size && inner_.from != size && inner_.from != 0) {
    const auto contiguous =
        std::ranges::find_if(outer_, [&](const Loop& loop) { return loop.from == size; });
    if (contiguous != outer_.end()) {
      block_ = *contiguous;
      outer_.erase(contiguous);
    }
  }
  const int64_t row = std::max<int64_t>(kRowBytes / size, 1);
  if (block_.size == 1 && inner_.size >= 2 * row && inner_.size % row == 0) {
    outer_.push_back({inner_.size / row, inner_.from * row, inner_.to * row});
    inner_.size = row;
  }
}

template <typename Element>
void StridedCopy::run_units(const std::byte* from, std::byte* to, int64_t begin,
                            int64_t end) const {
  const int64_t blocks = (block_.size + kBlock - 1) / kBlock;
  std::vector<int64_t> place(outer_.size());
  int64_t rest = begin / blocks;
  int64_t block = begin % blocks;
  for (size_t i = outer_.size(); i-- > 0;) {
    place[i] = rest % outer_[i].size;
    rest /= outer_[i].size;
    from += place[i] * outer_[i].from;
    to += place[i] * outer_[i].to;
  }
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t first = block * kBlock;
    const int64_t last = std::min(first + kBlock, block_.size);
    if (blocks == 1 && block_.size == 1) {
      copy_row<Element>(from, inner_.from, to, inner_.to, inner_.size);
    } else {
      // A block of kBlock x kBlock elements at a time, so that both sides stay in cache.
      for (int64_t i = 0; i < inner_.size; i += kBlock) {
        const int64_t count = std::min(kBlock, inner_.size - i);
        for (int64_t j = first; j < last; ++j) {
          copy_row<Element>(from + j * block_.from + i * inner_.from, inner_.from,
                            to + j * block_.to + i * inner_.to, inner_.to, count);
        }
      }
    }
    if (++block < blocks) continue;
    block = 0;
    for (size_t i = outer_.size(); i-- > 0;) {
      from += outer_[i].from;
      to += outer_[i].to;
      if (++place[i] < outer_[i].size) break;
      from -= outer_[i].size * outer_[i].from;
      to -= outer_[i].size * outer_[i].to;
      place[i] = 0;
    }
  }
}

void StridedCopy::run(const void* from, void* to, Threads& threads) const {
  if (units_ == 0) return;
  const auto* source = static_cast<const std::byte*>(from);
  auto* target = static_cast<std::byte*>(to);
  threads.parallel_for(shards_, [&](int64_t shard) {
    visit_size(element_size_, [&]<typename Element>() {
      run_units<Element>(source, target, shard_begin(units_, shards_, shard),
                         shard_begin(units_, shards_, shard + 1));
    });
  });
}

void fill(void* to, int64_t count, const void* element, size_t size, Threads& threads) {
  const int64_t shards = shard_count(count * static_cast<int64_t>(size), kShardBytes);
  threads.parallel_for(shards, [&](int64_t shard) {
    const int64_t begin = shard_begin(count, shards, shard);
    const int64_t end = shard_begin(count, shards, shard + 1);
    visit_size(size, [&]<typename Element>() {
      Element value;
      std::memcpy(&value, element, sizeof value);
      std::fill_n(static_cast<Element*>(to) + begin, end - begin, value);
    });
  });
}

}  // namespace adjoint::cpu
