// Digits that are quick to learn, for tests.
//
//   trainer.bind_training(make_digits(60, 28, 1));  // 60 of 28x28 pixels; 1: the noise's seed
#pragma once

#include <cstdint>

#include "examples/mnist/dataset.h"
#include "examples/mnist/model.h"

namespace adjoint::mnist {

// Square images whose brightest row tells the label; of 13 rows or more.
inline Digits make_digits(int64_t count, int64_t side, uint32_t seed) {
  Digits digits{count, side, side, {}, {}};
  auto next = [&] { return seed = seed * 1664525u + 1013904223u; };
  for (int64_t i = 0; i < count; ++i) {
    const int label = static_cast<int>(next() >> 16) % kClasses;
    digits.labels.push_back(static_cast<uint8_t>(label));
    for (int64_t p = 0; p < side * side; ++p) {
      const bool bright = p / side == label + 3;
      digits.images.push_back(static_cast<uint8_t>((bright ? 180 : 0) + (next() >> 26)));
    }
  }
  return digits;
}

}  // namespace adjoint::mnist
