// A model of memory for runtime/plan_verifier.h: ranges of bytes that remember the value they hold,
// the launch that wrote it, and the launches that have read it since.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

namespace adjoint::internal {

// Which launches have surely ended when another begins.
class LaunchOrder {
 public:
  explicit LaunchOrder(int32_t streams) : streams_(streams) {}
  // Launches are added in the order of their numbers; `waits` are earlier ones.
  void add(int32_t stream, const std::vector<int32_t>& waits);
  bool before(int32_t a, int32_t b) const {  // -1: the beginning
    return a < 0 || clock(b)[stream_of_[a]] >= a;
  }
  // The last launch of the stream that has surely ended when `launch` begins, or -1.
  int32_t last_ended(int32_t launch, int32_t stream) const { return clock(launch)[stream]; }
  int32_t streams() const { return streams_; }

 private:
  const int32_t* clock(int32_t launch) const { return clocks_.data() + size_t(launch) * streams_; }

  int32_t streams_;
  std::vector<int32_t> stream_of_;
  std::vector<int32_t> clocks_;   // launches x streams
  std::vector<int32_t> last_of_;  // by stream: its last launch so far
};

inline constexpr int64_t kNoValue = -1;

// One storage.
class MemoryModel {
 public:
  struct Range {
    size_t begin = 0;
    size_t end = 0;
  };
  // The value that exactly this range holds and the launch that wrote it; kNoValue where it holds
  // none, parts of several or a part of one.
  std::pair<int64_t, int32_t> held(Range range) const;
  // Notes that the launch has read the range, which holds one value.
  void read(Range range, int32_t launch);
  // The launch puts a value there. Calls `conflict` with each launch whose write or read of an
  // overlapped range must have ended before.
  void write(Range range, int64_t value, int32_t launch,
             const std::function<void(int32_t earlier)>& conflict);

 private:
  struct Piece {
    size_t end = 0;
    int64_t value = kNoValue;
    size_t value_begin = 0;  // of the whole value: a piece may be what is left of it
    size_t value_end = 0;
    int32_t writer = -1;
    std::vector<int32_t> readers;
  };
  std::map<size_t, Piece> pieces_;  // by first byte; disjoint
};

}  // namespace adjoint::internal
