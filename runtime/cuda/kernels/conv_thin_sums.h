// What a block adds up for the filter's gradient of a thin convolution, tile after tile, on the
// CUDA cores or on tensor cores.
//
//   CoreSums<kWidth> sums(g);           // shares = core_shares(g)
//   sums.add(g, shares, tile, first);  // after a barrier
//   sums.put(g, taps, size);           // as shares.slices arrays
#pragma once

#include <algorithm>

#include "runtime/cuda/device/mma.h"
#include "runtime/cuda/kernels/conv_thin_tiles.h"
#include "runtime/scalar/base.h"

namespace adjoint::cuda {

// Neighbours in a row that are added up at a time.
inline constexpr int kCoreRun = 6, kTensorRun = 8;

inline Shares core_shares(const Thin& g) {
  const int roles = g.height * g.x_channels * g.packs(), most = kThinThreads / roles;
  Shares s(g, kCoreRun, most);
  s.slices = std::min(most, s.rows * s.runs);
  s.threads = roles * s.slices;
  return s;
}

// Tiles of 16 values that the filter sees, and of 8 channels of y.
inline constexpr int kTensorRows = 2, kTensorColumns = 4;

inline bool fits_tensor_sums(const Thin& g, int width) {
  return g.height * width * g.x_channels <= 16 * kTensorRows && g.packs() <= kTensorColumns;
}
inline Shares tensor_shares(const Thin& g) {
  constexpr int kWarps = kThinThreads / 32, kRunsEach = 8;
  Shares s(g, kTensorRun, kRunsEach * kWarps);
  s.slices = std::min(kWarps, s.rows * s.runs);
  s.threads = 32 * s.slices;
  return s;
}

// Adds the products of `count` pixels of dy and what the filter's row sees of x, from `x_at` and
// `y_at` on. Behind those there is room for a run's others.
template <int kWidth>
__device__ inline void add_run(const Shared<float>& x, int x_at, int x_step, const Shared<float>& y,
                               int y_at, int y_step, int count,
                               float (&sums)[kWidth][Thin::kPack]) {
  float seen[kCoreRun + kWidth - 1];
  for (int i = 0; i < kCoreRun + kWidth - 1; ++i) seen[i] = x[x_at + i * x_step];
  Four low = load_pack<4>(&y[y_at]), high = load_pack<4>(&y[y_at + 4]);
  for (int p = 0; p < kCoreRun; ++p) {
    const int next = y_at + min(p + 1, kCoreRun - 1) * y_step;
    const Four next_low = load_pack<4>(&y[next]), next_high = load_pack<4>(&y[next + 4]);
    for (int o = 0; p < count && o < 4; ++o) {
      for (int l = 0; l < kWidth; ++l) {
        sums[l][o] = scalar::multiply_add(seen[p + l], low[o], sums[l][o]);
        sums[l][4 + o] = scalar::multiply_add(seen[p + l], high[o], sums[l][4 + o]);
      }
    }
    low = next_low, high = next_high;
  }
}

// On the CUDA cores. A thread has a role, the filter's row k, a channel of x and a pack of channels
// of y, and adds up runs of a tile's pixels for it; `slices` threads of a block have the same role.
template <int kWidth>
class CoreSums {
 public:
  __device__ explicit CoreSums(const Thin& g) {
    const int roles = g.height * g.x_channels * g.packs();
    slice_ = static_cast<int>(threadIdx.x) / roles;
    const int role = static_cast<int>(threadIdx.x) - slice_ * roles;
    first_ = role % g.packs() * Thin::kPack;
    c_ = role / g.packs() % g.x_channels;
    k_ = role / g.packs() / g.x_channels;
  }

  // Slices that follow one another have rows that do.
  __device__ void add(const Thin& g, const Shares& s, const Tile& tile, const Place& first) {
    const Shared<float> x = tile.x(), y = tile.y();
    for (int run = slice_; run < s.rows * s.runs; run += s.slices) {
      const int along = run / s.rows, row = run - along * s.rows, column = along * kCoreRun;
      if (!first.moved(row, column).is_inside(g)) continue;
      const int count = min(kCoreRun, g.y_columns - first.column - column);
      add_run(x, (row + k_) * tile.x_row + column * g.x_channels + c_, g.x_channels, y,
              row * tile.y_row + column * g.y_channels + first_, g.y_channels, count, sums_);
    }
  }

  __device__ void put(const Thin& g, const Shared<float>& taps, int size) const {
    for (int l = 0; l < kWidth; ++l) {
      const int place = ((k_ * kWidth + l) * g.x_channels + c_) * g.y_channels + first_;
      for (int o = 0; o < Thin::kPack; o += 4) {
        const Four part = {{sums_[l][o], sums_[l][o + 1], sums_[l][o + 2], sums_[l][o + 3]}};
        store_pack(&taps[slice_ * size + place + o], part);
      }
    }
  }

 private:
  int slice_, first_, c_, k_;  // `first` of the pack's channels
  float sums_[kWidth][Thin::kPack] = {};
};

// On tensor cores, in TF32: the rows are what the filter sees, the columns channels of y, and k are
// eight pixels in a row. Each warp has all sums, of some runs.
template <int kWidth>
class TensorSums {
 public:
  __device__ explicit TensorSums(const Thin&) {}

  __device__ void add(const Thin& g, const Shares& s, const Tile& tile, const Place& first) {
    const Shared<float> x = tile.x(), y = tile.y();
    int seen[kTensorRows][2];  // of the lane's rows, from the pixel on
    for (int i = 0; i < kTensorRows; ++i) {
      for (int half = 0; half < 2; ++half) {
        const int k = min(row(i, half), depth(g) - 1), in_row = kWidth * g.x_channels;
        seen[i][half] = k / in_row * tile.x_row + k % in_row;  // rows past the end are not stored
      }
    }
    for (int run = threadIdx.x / 32; run < s.rows * s.runs; run += s.slices) {
      const int along = run / s.rows, down = run - along * s.rows, column = along * kTensorRun;
      if (!first.moved(down, column).is_inside(g)) continue;
      uint32_t a[kTensorRows][4], b[kTensorColumns][2];
      for (int half = 0; half < 2; ++half) {
        const int pixel = column + 4 * half + number();
        const bool is_there = first.column + pixel < g.y_columns;
        const int x_at = down * tile.x_row + pixel * g.x_channels;
        const int y_at = down * tile.y_row + pixel * g.y_channels + group();
        for (int i = 0; i < kTensorRows; ++i) {
          for (int other = 0; other < 2; ++other) {
            a[i][2 * half + other] = word_if(is_there, x, x_at + seen[i][other]);
          }
        }
        for (int j = 0; j < kTensorColumns; ++j) {
          b[j][half] = word_if(is_there && j < g.packs(), y, y_at + 8 * j);
        }
      }
      mma<float>(sums_, a, b);
    }
  }

  __device__ void put(const Thin& g, const Shared<float>& taps, int size) const {
    const int begin = static_cast<int>(threadIdx.x) / 32 * size + 2 * number();
    for (int i = 0; i < kTensorRows; ++i) {
      for (int half = 0; half < 2; ++half) {
        if (row(i, half) >= depth(g)) continue;
        const int at = begin + row(i, half) * g.y_channels;
        for (int j = 0; j < kTensorColumns && j < g.packs(); ++j) {
          const Pack<float, 2> pair = {{sums_[i][j][2 * half], sums_[i][j][2 * half + 1]}};
          store_pack(&taps[at + 8 * j], pair);
        }
      }
    }
  }

 private:
  __device__ static int group() { return threadIdx.x % 32 / 4; }
  __device__ static int number() { return threadIdx.x % 4; }
  __device__ static int row(int i, int half) { return 16 * i + 8 * half + group(); }
  __device__ static int depth(const Thin& g) { return g.height * kWidth * g.x_channels; }
  __device__ static uint32_t word_if(bool is_there, const Shared<float>& values, int at) {
    return is_there ? mma_word(Pack<float, 1>{{values[at]}}) : 0;
  }

  float sums_[kTensorRows][kTensorColumns][4] = {};
};

}  // namespace adjoint::cuda
