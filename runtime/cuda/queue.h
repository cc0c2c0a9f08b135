// A device's work: its streams, the steps on their way, and what kernels report.
//
//   queue.begin_step();                       // waits while too many steps are on their way
//   graph.launch(queue.main());
//   queue.end_step();
//   queue.finish();                           // waits for all; throws what a kernel reported
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/cuda/api/cuda.h"
#include "runtime/cuda/device/status.h"

namespace adjoint::cuda {

class Queue {
 public:
  static constexpr size_t kMaxSteps = 32;  // on their way at once

  Queue();

  const Stream& main() const { return streams_[0]; }
  // Stream `number`, made when it is first asked for; 0 is main().
  const Stream& stream(int number);
  // For copies beside the steps; made when it is first asked for.
  const Stream& copies();
  Status* status() const { return static_cast<Status*>(status_.data()); }

  void begin_step();
  void end_step();
  // Waits for all that was enqueued. Throws DataError where a kernel has reported a bad value since
  // the last time, in words of the plan's that it belongs to; the device goes on afterwards.
  void finish();

  // Numbers for a plan's launches in reports: the first of `count`. `explain` gets the launch,
  // counted from 0, and the bad value.
  using Explain = std::function<std::string(int launch, int64_t value)>;
  int add_launches(int count, Explain explain);
  void remove_launches(int first) { explanations_.erase(first); }

  std::mutex& turn() { return turn_; }

 private:
  [[noreturn]] void throw_report(const Status& status);

  std::mutex turn_;
  std::deque<Stream> streams_;
  std::optional<Stream> copies_;
  DeviceMemory status_;
  PinnedMemory host_status_;
  std::deque<Event> steps_;
  std::vector<Event> idle_;  // events to be used again
  std::map<int, Explain> explanations_;
  int launches_ = 0;
};

}  // namespace adjoint::cuda
