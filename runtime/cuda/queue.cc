#include "runtime/cuda/queue.h"

#include <utility>

#include "graph/error.h"

namespace adjoint::cuda {

Queue::Queue() : status_(sizeof(Status)), host_status_(sizeof(Status)) {
  streams_.emplace_back();
  fill_async(status_.data(), 0, sizeof(Status), main().get());
}

const Stream& Queue::stream(int number) {
  while (static_cast<int>(streams_.size()) <= number) streams_.emplace_back();
  return streams_[number];
}

const Stream& Queue::copies() {
  if (!copies_) copies_.emplace();
  return *copies_;
}

void Queue::begin_step() {
  while (!steps_.empty() && steps_.front().is_done()) {
    idle_.push_back(std::move(steps_.front()));
    steps_.pop_front();
  }
  if (steps_.size() < kMaxSteps) return;
  steps_.front().synchronize();
  idle_.push_back(std::move(steps_.front()));
  steps_.pop_front();
}

void Queue::end_step() {
  if (idle_.empty()) idle_.emplace_back();
  idle_.back().record(main());
  steps_.push_back(std::move(idle_.back()));
  idle_.pop_back();
}

void Queue::finish() {
  copy_async(host_status_.data(), status_.data(), sizeof(Status), main().get());
  main().synchronize();
  const Status status = *static_cast<const Status*>(host_status_.data());
  if (status.failed == 0) return;
  fill_async(status_.data(), 0, sizeof(Status), main().get());
  main().synchronize();
  throw_report(status);
}

void Queue::throw_report(const Status& status) {
  const int launch = status.failed - 1;
  const auto next = explanations_.upper_bound(launch);
  if (next == explanations_.begin()) {
    throw DataError("a kernel met the bad value " + std::to_string(status.value));
  }
  const auto& [first, explain] = *std::prev(next);
  throw DataError(explain(launch - first, status.value));
}

int Queue::add_launches(int count, Explain explain) {
  const int first = std::exchange(launches_, launches_ + count);
  explanations_[first] = std::move(explain);
  return first;
}

}  // namespace adjoint::cuda
