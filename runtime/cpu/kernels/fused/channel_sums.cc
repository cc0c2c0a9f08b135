#include "runtime/cpu/kernels/fused/channel_sums.h"

#include <algorithm>
#include <cstddef>
#include <limits>

namespace adjoint::cpu {
namespace {

using V = Vec<float>;
constexpr int kWidth = kLanes<float>;

void add_moments(const float* x, const float* shift, int64_t begin, int64_t end, int64_t channels,
                 ChannelSums& sums) {
  for (int64_t row = begin; row < end; ++row) {
    sums.begin_row();
    const float* p = x + row * channels;
    int64_t c = 0;
    for (; c + kWidth <= channels; c += kWidth) {
      const V d = load<V>(p + c) - load<V>(shift + c);
      sums.add(c, d, d * d);
    }
    if (c < channels) {
      const int lanes = static_cast<int>(channels - c);
      const V d = load_first<V>(p + c, lanes) - load_first<V>(shift + c, lanes);
      sums.add(c, d, d * d);
    }
  }
  sums.finish();
}

}  // namespace

ChannelSums::ChannelSums(void* workspace, int64_t channels, int64_t shard) : channels_(channels) {
  std::byte* memory = static_cast<std::byte*>(workspace) + shard * shard_bytes(channels);
  sums_ = reinterpret_cast<double*>(memory);
  partial_ = reinterpret_cast<float*>(memory + sums_bytes(channels));
  std::fill_n(sums_, 2 * channels, 0.0);
  std::fill_n(partial_, partial_size(channels), 0.0f);
}

void ChannelSums::flush() {
  for (int64_t c = 0; c < channels_; ++c) {
    const int64_t at = c / kWidth * 2 * kWidth + c % kWidth;
    sums_[c] += partial_[at];
    sums_[channels_ + c] += partial_[at + kWidth];
  }
  std::fill_n(partial_, partial_size(channels_), 0.0f);
  rows_ = 1;
}

std::pair<double, double> ChannelSums::total(const void* workspace, int64_t channels,
                                             int64_t shards, int64_t channel) {
  double first = 0, second = 0;
  for (int64_t shard = 0; shard < shards; ++shard) {
    const auto* memory = static_cast<const std::byte*>(workspace) + shard * shard_bytes(channels);
    const auto* sums = reinterpret_cast<const double*>(memory);
    first += sums[channel];
    second += sums[channels + channel];
  }
  return {first, second};
}

void channel_moments(const float* x, int64_t rows, int64_t channels, int64_t shards, float* mean,
                     float* variance, const KernelCall& call) {
  if (rows == 0) {
    std::fill_n(mean, channels, std::numeric_limits<float>::quiet_NaN());
    std::fill_n(variance, channels, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  call.threads.parallel_for(shards, [&](int64_t shard) {
    ChannelSums sums(call.workspace, channels, shard);
    add_moments(x, x, shard_begin(rows, shards, shard), shard_begin(rows, shards, shard + 1),
                channels, sums);
  });
  const double count = static_cast<double>(rows);
  for (int64_t c = 0; c < channels; ++c) {
    const auto [sum, squares] = ChannelSums::total(call.workspace, channels, shards, c);
    const double shifted = sum / count;
    mean[c] = static_cast<float>(x[c] + shifted);
    variance[c] = static_cast<float>(std::max(0.0, squares / count - shifted * shifted));
  }
}

}  // namespace adjoint::cpu
