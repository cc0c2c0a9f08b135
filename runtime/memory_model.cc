#include "runtime/memory_model.h"

#include <algorithm>

namespace adjoint::internal {

void LaunchOrder::add(int32_t stream, const std::vector<int32_t>& waits) {
  last_of_.resize(streams_, -1);
  std::vector<int32_t> ended(streams_, -1);
  const auto include = [&](int32_t launch) {
    if (launch < 0) return;
    for (int32_t s = 0; s < streams_; ++s) ended[s] = std::max(ended[s], clock(launch)[s]);
    int32_t& own = ended[stream_of_[launch]];
    own = std::max(own, launch);
  };
  include(last_of_[stream]);
  for (int32_t wait : waits) include(wait);
  last_of_[stream] = static_cast<int32_t>(stream_of_.size());
  stream_of_.push_back(stream);
  clocks_.insert(clocks_.end(), ended.begin(), ended.end());
}

std::pair<int64_t, int32_t> MemoryModel::held(Range range) const {
  const auto found = pieces_.find(range.begin);
  if (found == pieces_.end()) return {kNoValue, -1};
  const Piece& piece = found->second;
  const bool whole =
      piece.end == range.end && piece.value_begin == range.begin && piece.value_end == range.end;
  return whole ? std::pair{piece.value, piece.writer} : std::pair{kNoValue, int32_t{-1}};
}

void MemoryModel::read(Range range, int32_t launch) {
  auto& readers = pieces_.at(range.begin).readers;
  if (readers.empty() || readers.back() != launch) readers.push_back(launch);
}

void MemoryModel::write(Range range, int64_t value, int32_t launch,
                        const std::function<void(int32_t earlier)>& conflict) {
  auto it = pieces_.upper_bound(range.begin);
  if (it != pieces_.begin() && std::prev(it)->second.end > range.begin) --it;
  while (it != pieces_.end() && it->first < range.end) {
    const size_t begin = it->first;
    Piece piece = std::move(it->second);
    conflict(piece.writer);
    for (int32_t reader : piece.readers) conflict(reader);
    it = pieces_.erase(it);
    // What sticks out stays, with its history.
    if (begin < range.begin) {
      Piece left = piece;
      left.end = range.begin;
      pieces_.emplace(begin, std::move(left));
    }
    if (piece.end > range.end) it = pieces_.emplace(range.end, std::move(piece)).first;
  }
  pieces_[range.begin] = {range.end, value, range.begin, range.end, launch, {}};
}

}  // namespace adjoint::internal
