#include "runtime/plan_streams.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace adjoint {
namespace {

// Adds up a step's launches in their order.
class Clock {
 public:
  explicit Clock(const StreamModel& model) : model_(model) {}

  void add(double seconds, int32_t stream, std::span<const int32_t> waits) {
    // Other streams begin with a wait.
    free_.resize(std::max<size_t>(free_.size(), stream + 1), model_.event_seconds);
    double start = free_[stream];
    for (int32_t earlier : waits) start = std::max(start, ends_[earlier] + model_.event_seconds);
    free_[stream] = start + seconds;
    ends_.push_back(free_[stream]);
    // The main stream waits for the others at the end.
    end_ = std::max(end_, free_[stream] + (stream == 0 ? 0 : model_.event_seconds));
    work_ += seconds - model_.launch_seconds;
  }
  double step() const { return std::max(end_, work_); }

 private:
  const StreamModel& model_;
  std::vector<double> free_ = {0};  // by stream
  std::vector<double> ends_;
  double end_ = 0;
  double work_ = 0;
};

}  // namespace

double step_seconds(const Plan& plan, const StreamModel& model) {
  Clock clock(model);
  for (const Launch& launch : plan.launches) {
    clock.add(internal::launch_seconds(launch.flops, launch.bytes, model), launch.stream,
              launch.waits);
  }
  return clock.step();
}

namespace internal {
namespace {

// A plan gets another stream if its step becomes shorter by this part at least.
constexpr double kLeastGain = 0.02;

// By launch: the time from its beginning to the end of the step, on as many streams as one likes.
std::vector<double> ways_to_end(std::span<const StreamTask> tasks) {
  std::vector<double> ways(tasks.size(), 0);
  for (size_t i = tasks.size(); i-- > 0;) {
    ways[i] += tasks[i].seconds;
    for (int32_t earlier : tasks[i].after) ways[earlier] = std::max(ways[earlier], ways[i]);
  }
  return ways;
}

// By launch: its stream, of `streams`.
std::vector<int32_t> schedule(std::span<const StreamTask> tasks, int32_t streams,
                              const StreamModel& model) {
  const std::vector<double> ways = ways_to_end(tasks);
  std::vector<int32_t> order(tasks.size());
  std::iota(order.begin(), order.end(), 0);
  // Launches that others need come before them: their way is longer, or as long and they are first.
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return ways[a] > ways[b]; });
  std::vector<int32_t> stream_of(tasks.size(), 0);
  std::vector<double> ends(tasks.size(), 0);
  std::array<double, kMaxStreams> free;
  free.fill(model.event_seconds);
  free[0] = 0;
  for (int32_t i : order) {
    const auto start_on = [&](int32_t stream) {
      double start = free[stream];
      for (int32_t earlier : tasks[i].after) {
        const double wait = stream_of[earlier] == stream ? 0 : model.event_seconds;
        start = std::max(start, ends[earlier] + wait);
      }
      return start;
    };
    double start = start_on(0);
    for (int32_t s = 1; s < streams; ++s) {
      const double other = start_on(s);
      const double price = stream_of[i] == 0 ? model.event_seconds : 0;
      if (other + price >= start) continue;
      start = other;
      stream_of[i] = s;
    }
    ends[i] = free[stream_of[i]] = start + tasks[i].seconds;
  }
  return stream_of;
}

}  // namespace

double launch_seconds(double flops, double bytes, const StreamModel& model) {
  return model.launch_seconds +
         std::max(flops / model.flops_per_second, bytes / model.bytes_per_second);
}

Streams::Streams(std::span<const StreamTask> tasks, std::vector<int32_t> stream_of)
    : stream_of_(std::move(stream_of)), waits_(tasks.size()), ended_(tasks.size()) {
  count_ += *std::max_element(stream_of_.begin(), stream_of_.end());
  for (size_t i = 0; i < tasks.size(); ++i) add(static_cast<int32_t>(i), tasks[i]);
}

void Streams::add(int32_t launch, const StreamTask& task) {
  int32_t& own = last_[stream_of_[launch]];
  ByStream& ended = ended_[launch];
  ended = own < 0 ? ByStream{-1, -1, -1} : ended_[own];
  ended[stream_of_[launch]] = std::exchange(own, launch);
  // The last one of each stream stands for those before it there.
  ByStream wanted;
  wanted.fill(-1);
  for (int32_t earlier : task.after) {
    int32_t& last = wanted[stream_of_[earlier]];
    if (ended[stream_of_[earlier]] < earlier) last = std::max(last, earlier);
  }
  const auto implied = [&](int32_t earlier) {
    return std::any_of(wanted.begin(), wanted.end(), [&](int32_t other) {
      return other >= 0 && other != earlier && ended_[other][stream_of_[earlier]] >= earlier;
    });
  };
  for (int32_t earlier : wanted) {
    if (earlier >= 0 && !implied(earlier)) waits_[launch].push_back(earlier);
  }
  for (int32_t earlier : waits_[launch]) {
    for (int s = 0; s < kMaxStreams; ++s) ended[s] = std::max(ended[s], ended_[earlier][s]);
    ended[stream_of_[earlier]] = std::max(ended[stream_of_[earlier]], earlier);
  }
  std::sort(waits_[launch].begin(), waits_[launch].end());
}

double Streams::seconds(std::span<const StreamTask> tasks, const StreamModel& model) const {
  Clock clock(model);
  for (size_t i = 0; i < tasks.size(); ++i) {
    clock.add(tasks[i].seconds, stream_of_[i], waits_[i]);
  }
  return clock.step();
}

Streams assign_streams(std::span<const StreamTask> tasks, const StreamModel& model) {
  if (tasks.empty() || tasks.size() > kMaxStreamLaunches || model.streams <= 1) return {};
  Streams best(tasks, std::vector<int32_t>(tasks.size(), 0));
  double least = best.seconds(tasks, model);
  for (int32_t streams = 2; streams <= std::min(model.streams, kMaxStreams); ++streams) {
    Streams found(tasks, schedule(tasks, streams, model));
    const double seconds = found.seconds(tasks, model);
    if (seconds > (1 - kLeastGain) * least) continue;
    best = std::move(found);
    least = seconds;
  }
  return best;
}

}  // namespace internal
}  // namespace adjoint
