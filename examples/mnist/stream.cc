#include "examples/mnist/stream.h"

#include <algorithm>
#include <utility>

#include "ops/philox.h"

namespace adjoint::mnist {

Order shuffled(int64_t seed, int64_t epoch, int64_t count) {
  const uint64_t key = philox::fold_in(static_cast<uint64_t>(seed), static_cast<uint64_t>(epoch));
  return [=](int64_t place) {
    return static_cast<int64_t>(
        philox::permute_index(key, static_cast<uint64_t>(place), static_cast<uint64_t>(count)));
  };
}

Order in_file() {
  return [](int64_t place) { return place; };
}

DigitStream::DigitStream(std::shared_ptr<Device> device, Digits digits, int64_t batch)
    : digits_(std::move(digits)),
      batch_(std::min(batch, digits_.count)),
      feed_(std::move(device), {{"images", {DType::u8, {batch_, digits_.rows, digits_.columns, 1}}},
                                {"labels", {DType::u8, {batch_}}}}) {}

void DigitStream::begin(int64_t place, Order order) {
  feed_.begin([this, place, order = std::move(order)](int64_t batch, const Tensors& host) {
    return fill(place + batch * batch_, order, host);
  });
}

int64_t DigitStream::fill(int64_t first, const Order& order, const Tensors& host) const {
  const int64_t size = digits_.rows * digits_.columns;
  const auto images = host.at("images").values<uint8_t>();
  const auto labels = host.at("labels").values<uint8_t>();
  const int64_t rows = std::clamp<int64_t>(digits_.count - first, 0, batch_);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t image = order(first + i);
    std::copy_n(digits_.images.begin() + image * size, size, images.begin() + i * size);
    labels[i] = digits_.labels[image];
  }
  return rows;
}

}  // namespace adjoint::mnist
