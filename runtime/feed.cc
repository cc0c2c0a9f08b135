#include "runtime/feed.h"

#include <algorithm>
#include <string>
#include <utility>

#include "graph/error.h"

namespace adjoint {
namespace {

int64_t rows_of(const TensorTypes& types) {
  const bool scalar = std::any_of(types.begin(), types.end(),
                                  [](const auto& entry) { return entry.second.dims.empty(); });
  if (types.empty() || scalar) throw GraphError("feed: every tensor needs rows");
  const int64_t rows = types.begin()->second.dims[0];
  for (const auto& [name, type] : types) {
    if (type.dims[0] == rows) continue;
    throw GraphError("feed: '" + name + "' is " + to_text(type) + ", '" + types.begin()->first +
                     "' has " + std::to_string(rows) + " rows");
  }
  return rows;
}

// The first rows of a tensor, in the same memory.
Tensor first_rows(const Tensor& tensor, int64_t rows) {
  TensorType type = tensor.type();
  if (type.dims[0] == rows) return tensor;
  type.dims[0] = rows;
  return Tensor::wrap(tensor.data(), type, {.device = tensor.device(), .release = [tensor] {}});
}

}  // namespace

Feed::Feed(std::shared_ptr<Device> device, const TensorTypes& types, const FeedOptions& options)
    : capacity_(rows_of(types)), slots_(std::max(options.slots, 2)) {
  for (Slot& slot : slots_) slot.upload = device->make_upload_slot(types);
  thread_ = std::thread([this] { work(); });
}

Feed::~Feed() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Feed::begin(Fill fill) {
  std::unique_lock lock(mutex_);
  ended_ = true;
  changed_.wait(lock, [&] { return !filling_; });
  let_go();
  filled_ = taken_ = free_ = 0;
  error_ = nullptr;
  fill_ = std::make_shared<const Fill>(std::move(fill));
  ended_ = false;
  changed_.notify_all();
}

Tensors Feed::next() {
  std::unique_lock lock(mutex_);
  let_go();
  changed_.notify_all();
  changed_.wait(lock, [&] { return filled_ > taken_ || ended_; });
  if (filled_ == taken_) {
    if (error_) std::rethrow_exception(error_);
    return {};
  }
  const Slot& taken = slot(taken_);
  taken.upload->receive();
  ++taken_;
  Tensors batch;
  for (const auto& [name, tensor] : taken.upload->device()) {
    batch.emplace(name, first_rows(tensor, taken.rows));
  }
  return batch;
}

size_t Feed::device_bytes() const {
  size_t bytes = 0;
  for (const Slot& slot : slots_) {
    for (const auto& [name, tensor] : slot.upload->device()) bytes += tensor.byte_count();
  }
  return bytes;
}

// The steps that read the batch taken last have been run.
void Feed::let_go() {
  if (free_ == taken_) return;
  slot(free_).upload->done();
  ++free_;
}

int64_t Feed::fill_slot(const Fill& fill, int64_t batch) {
  Slot& target = slot(batch);
  target.upload->wait_writable();
  target.rows = fill(batch, target.upload->host());
  if (target.rows < 0 || target.rows > capacity_) {
    throw DataError("feed: a batch of " + std::to_string(target.rows) + " rows, where there is " +
                    "room for " + std::to_string(capacity_));
  }
  if (target.rows > 0) target.upload->send();
  return target.rows;
}

void Feed::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto room = static_cast<int64_t>(slots_.size());
    changed_.wait(lock, [&] { return stopping_ || (!ended_ && filled_ < free_ + room); });
    if (stopping_) return;
    filling_ = true;
    const std::shared_ptr<const Fill> fill = fill_;
    const int64_t batch = filled_;
    lock.unlock();
    int64_t rows = 0;
    std::exception_ptr error;
    try {
      rows = fill_slot(*fill, batch);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    filling_ = false;
    if (error) error_ = error;
    if (rows > 0) {
      ++filled_;
    } else {
      ended_ = true;
    }
    changed_.notify_all();
  }
}

}  // namespace adjoint
