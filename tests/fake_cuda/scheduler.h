// When enqueued work runs: operations, what each waits for, and the choice among those that could
// run.
//
//   auto copy = std::make_shared<Operation>(Operation{.name = "copy", .work = ...});
//   copy->after = stream->tail;
//   submit(copy);          // nothing runs yet
//   run_until({copy});     // it and whatever else the stream order picks before it
//
// A stream is no queue here: it is the operations that its next one has to wait for.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/fake_cuda/fake_cuda.h"

namespace fake_cuda {

struct Operation;
using Operations = std::vector<std::shared_ptr<Operation>>;

// How far along each lane of work an operation, or the host, can look back. See conflicts.h.
using Clock = std::vector<uint32_t>;

struct Operation {
  std::string name;
  std::function<void()> work;
  bool counted = true;          // in launches()
  cudaEvent_t event = nullptr;  // a graph's node that records it
  bool ranges_known = true;     // reads and writes are all there is
  std::vector<Range> reads = {};
  std::vector<Range> writes = {};
  Operations after = {};  // cleared when it has run

  // Of submitted ones.
  uint64_t sequence = 0;
  size_t missing = 0;  // how many of `after` have not run
  Operations followers = {};
  bool done = false;
  double finished = 0;  // by the device's clock
  size_t lane = 0;
  Clock clock = {};
};

void submit(const std::shared_ptr<Operation>& operation);
// The device's clock, in seconds: the sum of what operations have taken, by the settings.
double device_time();
bool are_done(const Operations& operations);
// Runs until these are done. The host knows then that they are.
void run_until(const Operations& operations);
void run_all();
// Runs one operation, if there is one.
void make_progress();
// Forgets what has not run.
void reset_scheduler();

}  // namespace fake_cuda
