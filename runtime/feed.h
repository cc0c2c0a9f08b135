// Batches of data that are on their way to a device while it computes: for data sets that do not
// fit there.
//
//   Feed feed(device, {{"x", {DType::f32, {128, 784}}}},             // at most 128 rows at once
//             {.slots = 2});
//   feed.begin([&](int64_t batch, const Tensors& host) {            // on a thread of the feed's
//     return copy_rows(batch, host.at("x"));                        // rows written; 0: no more
//   });
//   for (Tensors feeds = feed.next(); !feeds.empty(); feeds = feed.next()) train.run(state, feeds);
//
// There are two slots or more, each a set of tensors on the host and one on the device. While a
// step works on one slot, the next ones are filled and copied. A slot is copied to again behind the
// last step that reads it. The host does not wait for the device, but for a batch that is not yet
// filled.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/device.h"

namespace adjoint {

struct FeedOptions {
  int slots = 2;
};

// One user at a time.
class Feed {
 public:
  // Writes batch `index` (0, 1, ...) to the first rows of `host`, and returns how many rows it has;
  // 0 behind the last batch.
  using Fill = std::function<int64_t(int64_t index, const Tensors& host)>;

  // `types`: of the largest batch; every tensor has the rows as its first dimension. Throws
  // GraphError where they do not agree on how many these are.
  Feed(std::shared_ptr<Device> device, const TensorTypes& types, const FeedOptions& options = {});
  ~Feed();
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  // Begins with batch 0 of `fill`. What is left of the batches before is dropped; the function that
  // filled them is not called any more.
  void begin(Fill fill);
  // The next batch, on the device, to be read by steps that are run before the next call; empty
  // behind the last one. Throws what `fill` threw, in place of its batch.
  Tensors next();

  size_t device_bytes() const;

 private:
  struct Slot {
    std::unique_ptr<UploadSlot> upload;
    int64_t rows = 0;
  };

  Slot& slot(int64_t batch) { return slots_[batch % static_cast<int64_t>(slots_.size())]; }
  void work();
  int64_t fill_slot(const Fill& fill, int64_t batch);
  void let_go();

  int64_t capacity_ = 0;  // rows
  std::vector<Slot> slots_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by the mutex. Batches are counted from begin().
  std::shared_ptr<const Fill> fill_;
  int64_t filled_ = 0;
  int64_t taken_ = 0;      // by next()
  int64_t free_ = 0;       // taken, and no later step reads them
  bool ended_ = true;      // nothing more is to be filled
  bool filling_ = false;   // the thread is at it
  bool stopping_ = false;  // for good
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace adjoint
