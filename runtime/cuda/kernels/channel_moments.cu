#include "runtime/cuda/kernels/batch_moments.h"
#include "runtime/cuda/kernels/channel_moments.h"

namespace adjoint::cuda {
namespace {

Columns columns_of(const TensorType& x) {
  const int64_t channels = x.dims.back();
  int vec = 1;
  visit_pack<float>(channels, [&]<int kVec>() { vec = kVec; });
  return Columns::to_reduce(x.element_count() / channels, channels, vec, kTickets);
}

}  // namespace

size_t channel_moments_workspace(const TensorType& x) {
  return columns_of(x).partial_bytes<Sums>();
}

void channel_moments(const TensorType& x, const ChannelMomentsCall& moments,
                     const KernelCall& call) {
  const MomentResults<float> results{moments.mean, moments.variance, nullptr, nullptr};
  const auto start = [&](const auto* from) {
    launch_channel_moments(columns_of(x), call, from, moments.bias,
                           static_cast<Sums*>(moments.workspace), results);
  };
  if (x.dtype == DType::bf16) return start(static_cast<const Bf16*>(moments.x));
  start(static_cast<const float*>(moments.x));
}

}  // namespace adjoint::cuda
