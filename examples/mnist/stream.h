// A data set that stays on the host: its batches are copied to the device while it computes.
//
//   DigitStream stream(device, train_digits, 128);
//   stream.begin(0, shuffled(seed, epoch, train_digits.count));
//   Tensors batch = stream.next();                    // "images" and "labels"; empty at the end
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "examples/mnist/dataset.h"
#include "runtime/feed.h"

namespace adjoint::mnist {

// Which image is at a place of the epoch.
using Order = std::function<int64_t(int64_t place)>;
// The order of the model's training step.
Order shuffled(int64_t seed, int64_t epoch, int64_t count);
Order in_file();

class DigitStream {
 public:
  DigitStream(std::shared_ptr<Device> device, Digits digits, int64_t batch);

  // From this place to the end of the data set.
  void begin(int64_t place, Order order);
  Tensors next() { return feed_.next(); }

  size_t device_bytes() const { return feed_.device_bytes(); }

 private:
  int64_t fill(int64_t first, const Order& order, const Tensors& host) const;

  Digits digits_;
  int64_t batch_;
  Feed feed_;
};

}  // namespace adjoint::mnist
