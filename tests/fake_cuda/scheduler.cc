#include "tests/fake_cuda/scheduler.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "tests/fake_cuda/conflicts.h"
#include "tests/fake_cuda/internal.h"

namespace fake_cuda {
namespace {

constexpr double kSeconds = 1e-6;  // of an operation

struct Scheduler {
  uint64_t next_sequence = 0;
  double time = 0;
  std::map<uint64_t, std::shared_ptr<Operation>> pending;  // all that have not run
  std::map<uint64_t, std::shared_ptr<Operation>> ready;    // of these, the ones that could
};

Scheduler& scheduler() {
  static Scheduler& instance = *new Scheduler;
  return instance;
}

std::shared_ptr<Operation> take_ready() {
  auto& ready = scheduler().ready;
  auto chosen = ready.begin();
  switch (settings().stream_order) {
    case StreamOrder::oldest_first:
      break;
    case StreamOrder::newest_first:
      chosen = std::prev(ready.end());
      break;
    case StreamOrder::shuffled:
      std::advance(chosen, random()() % ready.size());
      break;
  }
  std::shared_ptr<Operation> operation = std::move(chosen->second);
  ready.erase(chosen);
  return operation;
}

void run_one() {
  const std::shared_ptr<Operation> operation = take_ready();
  run_observed(*operation);
  if (operation->counted) count_launch(operation->name);
  operation->done = true;
  const auto seconds = settings().seconds.find(operation->name);
  scheduler().time += seconds == settings().seconds.end() ? kSeconds : seconds->second;
  operation->finished = device_time();
  scheduler().pending.erase(operation->sequence);
  for (const std::shared_ptr<Operation>& follower : operation->followers) {
    if (--follower->missing == 0) scheduler().ready.emplace(follower->sequence, follower);
  }
  operation->followers.clear();
  operation->after.clear();
  operation->work = nullptr;
}

void after_waiting() {
  check_memory();
  std::vector<const Clock*> pending;
  for (const auto& [sequence, operation] : scheduler().pending) {
    pending.push_back(&operation->clock);
  }
  forget_ordered(pending);
}

}  // namespace

void submit(const std::shared_ptr<Operation>& operation) {
  operation->sequence = scheduler().next_sequence++;
  place(*operation);
  for (const std::shared_ptr<Operation>& earlier : operation->after) {
    if (earlier->done) continue;
    ++operation->missing;
    earlier->followers.push_back(operation);
  }
  scheduler().pending.emplace(operation->sequence, operation);
  if (operation->missing == 0) scheduler().ready.emplace(operation->sequence, operation);
}

double device_time() { return scheduler().time; }

bool are_done(const Operations& operations) {
  return std::all_of(operations.begin(), operations.end(),
                     [](const auto& operation) { return operation->done; });
}

void run_until(const Operations& operations) {
  while (!are_done(operations)) run_one();
  for (const std::shared_ptr<Operation>& operation : operations) host_waited_for(*operation);
  after_waiting();
}

void run_all() {
  while (!scheduler().pending.empty()) run_one();
  host_waited_for_all();
  after_waiting();
}

void make_progress() {
  if (!scheduler().ready.empty()) run_one();
}

void reset_scheduler() {
  // Operations hold each other, those before by `after` and those behind by `followers`.
  for (const auto& [sequence, operation] : scheduler().pending) {
    operation->after.clear();
    operation->followers.clear();
  }
  scheduler() = {};
}

}  // namespace fake_cuda
