// The planner's choice of streams: which launches run beside others, and what they wait for.
// Internal to runtime/planner.h, but for step_seconds.
//
//   std::vector<StreamTask> tasks = {{.seconds = 3e-6}, {.seconds = 9e-6, .after = {0}}, ...};
//   Streams streams = assign_streams(tasks, device.stream_model());
//   streams.waits(1);             // launches of other streams
//
// The order of the launches is given; each stream runs its own in that order. Launches are placed
// by list scheduling: those with the longest way to the end first, each on the stream where it is
// estimated to begin first. A launch leaves the main stream only if it begins earlier by more than
// a wait costs, and a plan gets another stream only if the whole step becomes shorter. A launch
// that can fail comes after those before it that can, so that the first failure is always the same
// one.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/device.h"
#include "runtime/plan.h"

namespace adjoint {

// How long a step takes by the model, with the plan's streams and waits: the longest path, or all
// work one after the other without its launches where that is longer, since streams share the
// device.
double step_seconds(const Plan& plan, const StreamModel& model);

namespace internal {

inline constexpr int kMaxStreams = 3;
// Plans of more launches stay on one stream: with several, sharing the arena looks at all pairs.
inline constexpr size_t kMaxStreamLaunches = 2000;

double launch_seconds(double flops, double bytes, const StreamModel& model);

// A launch, as far as streams matter.
struct StreamTask {
  double seconds = 0;
  std::vector<int32_t> after = {};  // earlier launches that must have ended
};

// By stream: a launch, or -1.
using ByStream = std::array<int32_t, kMaxStreams>;

// Without launches: all are on stream 0.
class Streams {
 public:
  Streams() = default;
  // Finds the fewest waits that order each task after those that it names.
  Streams(std::span<const StreamTask> tasks, std::vector<int32_t> stream_of);

  bool is_one() const { return count_ <= 1; }
  int32_t stream(int32_t launch) const { return is_one() ? 0 : stream_of_[launch]; }
  const std::vector<int32_t>& waits(int32_t launch) const { return waits_[launch]; }
  // The last launches that have surely ended when this one begins.
  const ByStream& ended(int32_t launch) const { return ended_[launch]; }
  double seconds(std::span<const StreamTask> tasks, const StreamModel& model) const;

 private:
  void add(int32_t launch, const StreamTask& task);

  std::vector<int32_t> stream_of_;
  std::vector<std::vector<int32_t>> waits_;
  std::vector<ByStream> ended_;
  int32_t count_ = 1;
  ByStream last_ = {-1, -1, -1};  // launches so far
};

Streams assign_streams(std::span<const StreamTask> tasks, const StreamModel& model);

}  // namespace internal
}  // namespace adjoint
