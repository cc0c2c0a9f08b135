// What the kernels of conv_gemm.h share: where a copy is in k, and how results are stored.
#pragma once

#include "runtime/cuda/device/element.h"
#include "runtime/cuda/device/pack.h"

namespace adjoint::cuda {

// Where in k a copy is: a channel, within the taps of a rectangle, row by row.
struct TapCursor {
  int row, column, channel;
  int first_column, end_column, channels;

  // `at` counts the channels of all taps.
  __device__ TapCursor(int first_row, int first, int end, int channel_count, int at)
      : first_column(first), end_column(end), channels(channel_count) {
    const int tap = at / channels, columns = end - first;
    channel = at - tap * channels;
    row = first_row + tap / columns;
    column = first + tap % columns;
  }
  // By `step`, past `kTaps` taps at most.
  template <int kTaps>
  __device__ void advance(int step) {
    channel += step;
    for (int i = 0; i < kTaps; ++i) {
      if (channel < channels) return;
      channel -= channels;
      if (++column < end_column) continue;
      column = first_column;
      ++row;
    }
  }
};

template <typename T>
__device__ void store(T* to, const Pack<float, 2>& values) {
  store_pack(to, Pack<T, 2>{{narrow<T>(values[0]), narrow<T>(values[1])}});
}
__device__ inline void store(float* to, const Pack<float, 4>& values) { store_pack(to, values); }

// What is stored of them, in f32.
template <typename T, int kVector>
__device__ inline Pack<float, kVector> rounded(Pack<float, kVector> values) {
  for (int k = 0; k < kVector; ++k) values[k] = widen(narrow<T>(values[k]));
  return values;
}

}  // namespace adjoint::cuda
