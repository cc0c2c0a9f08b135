// Loops over the channels of a pixel in vectors.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/cpu/kernels/simd.h"

namespace adjoint::cpu {

// Calls body(channel, load, store) for each vector of channels first .. last - 1; of the last one,
// which may be partial, load and store touch only the channels that are there.
template <typename T, typename Body>
[[gnu::always_inline]] inline void for_channels(int64_t first, int64_t last, Body body) {
  for (int64_t c = first; c < last; c += kLanes<T>) {
    const int lanes = static_cast<int>(std::min<int64_t>(kLanes<T>, last - c));
    if (lanes == kLanes<T>) {
      body(
          c, [](const T* from) { return load<Vec<T>>(from); },
          [](T* to, Vec<T> value) { store(to, value); });
    } else {
      body(
          c, [lanes](const T* from) { return load_first<Vec<T>>(from, lanes); },
          [lanes](T* to, Vec<T> value) { store_first(to, value, lanes); });
    }
  }
}

}  // namespace adjoint::cpu
