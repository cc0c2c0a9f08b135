// The kernel of the regions of linear_cross_entropy.h, in f32: a block has the weights in shared
// memory and takes one row of x after the other, from its logits to its dx.
#include <algorithm>

#include "ops/linalg.h"
#include "runtime/cuda/device/row_group.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/indices.h"
#include "runtime/cuda/linear_cross_entropy.h"
#include "runtime/patterns.h"
#include "runtime/scalar/exponential.h"

namespace adjoint::cuda {
namespace {

constexpr int kThreads = kRowThreads, kWarps = kThreads / kWarp;
constexpr int kMostClasses = kWarp;  // a warp has a row's logits

struct LinearSizes {
  int rows, features, classes;

  // Of the weights of a feature in shared memory: odd, so that neighbouring features are in
  // different banks.
  ADJOINT_HOST_DEVICE int pitch() const { return classes | 1; }
  // How many threads share the sum of a class's logit.
  ADJOINT_HOST_DEVICE int slices() const { return kThreads / classes; }
  ADJOINT_HOST_DEVICE int weights() const { return features * pitch(); }
  // The weights, a row of x, the slices' sums, the logits or their gradient.
  size_t shared_bytes() const {
    return sizeof(float) * (weights() + features + kThreads + kMostClasses);
  }
  LaunchShape shape() const {
    constexpr int kMostBlocks = 1024;
    return {.grid = dim3(std::min(rows, kMostBlocks)),
            .block = dim3(kThreads),
            .shared_bytes = shared_bytes()};
  }
};

struct LinearCrossEntropy {
  const float *x, *weights, *bias, *dloss;
  Indices labels;
  float *logits, *loss, *dlogits, *dx;
  Failure failure;

  explicit LinearCrossEntropy(const KernelCall& call, DType label_type)
      : x(call.input<float>(0)),
        weights(call.input<float>(1)),
        bias(call.input<float>(2)),
        dloss(call.input<float>(4)),
        labels{call.inputs[3], label_type},
        logits(call.output<float>(0)),
        loss(call.output<float>(1)),
        dlogits(call.output<float>(2)),
        dx(call.output<float>(3)),
        failure(call) {}

  // By the first warp, whose lanes have a logit each, those beyond the classes none: the lane's
  // gradient. A NaN comes through by the sum.
  __device__ float finish_row(const LinearSizes& s, int row, float logit) const {
    const RowGroup warp(kWarp);
    const bool is_class = warp.lane < s.classes;
    const float largest = warp.reduce(is_class ? logit : -scalar::kInfinity, Larger());
    const float shifted = logit - largest;
    const float power = is_class ? scalar::exp(shifted) : 0.0f;
    const float sum = warp.reduce(power, Add());
    const int64_t label = labels[row];
    if (warp.lane == 0 && (label < 0 || label >= s.classes)) failure.report(label);
    if (!is_class) return 0;
    logits[row * s.classes + warp.lane] = logit;
    if (warp.lane == label) loss[row] = scalar::log(sum) - shifted;
    const float gradient = dloss[row] * (power / sum - (warp.lane == label ? 1.0f : 0.0f));
    dlogits[row * s.classes + warp.lane] = gradient;
    return gradient;
  }
};

__global__ void __launch_bounds__(kThreads)
    linear_cross_entropy(LinearSizes s, const __grid_constant__ LinearCrossEntropy a) {
  begin_kernel();
  constexpr int kBytes = static_cast<int>(sizeof(float));
  const Shared<float> weights = shared_memory<float>(s.weights());
  const Shared<float> x = shared_memory<float>(s.features, kBytes * s.weights());
  const Shared<float> parts = shared_memory<float>(kThreads, kBytes * (s.weights() + s.features));
  const Shared<float> values =
      shared_memory<float>(kMostClasses, kBytes * (s.weights() + s.features + kThreads));
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
  for (int i = thread; i < s.features * s.classes; i += kThreads) {
    weights[i / s.classes * s.pitch() + i % s.classes] = a.weights[i];
  }
  for (int row = static_cast<int>(blockIdx.x); row < s.rows; row += static_cast<int>(gridDim.x)) {
    for (int i = thread; i < s.features; i += kThreads) x[i] = a.x[row * s.features + i];
    __syncthreads();
    const int slice = thread / s.classes, own = thread % s.classes;
    float sum = 0;
    for (int i = slice; slice < s.slices() && i < s.features; i += s.slices()) {
      sum += x[i] * weights[i * s.pitch() + own];
    }
    parts[thread] = sum;
    __syncthreads();
    for (int c = thread / kWarp; c < s.classes; c += kWarps) {
      float logit = 0;
      for (int i = lane; i < s.slices(); i += kWarp) logit += parts[i * s.classes + c];
      logit = RowGroup(kWarp).reduce(logit, Add());
      if (lane == 0) values[c] = logit + a.bias[c];
    }
    __syncthreads();
    if (thread < kWarp) {
      const float gradient = a.finish_row(s, row, lane < s.classes ? values[lane] : 0.0f);
      values[lane] = gradient;
    }
    __syncthreads();
    for (int i = thread; i < s.features; i += kThreads) {
      float dx = 0;
      for (int c = 0; c < s.classes; ++c) dx += values[c] * weights[i * s.pitch() + c];
      a.dx[row * s.features + i] = dx;
    }
  }
}

LinearSizes sizes_of(const KernelRequest& request) {
  const std::vector<int64_t>&x = request.inputs[0].dims, &weights = request.inputs[1].dims;
  return {static_cast<int>(x[0]), static_cast<int>(x[1]), static_cast<int>(weights[1])};
}

// Of [rows,features] x [features,classes], so small that a launch should take longer than what they
// do (not yet measured on a GPU).
bool are_small(const TensorType& x, const TensorType& weights) {
  constexpr int64_t kMostProducts = 1 << 23;
  constexpr size_t kMostShared = 96 << 10;  // any GPU has as much
  if (x.dims.size() != 2 || weights.dims.size() != 2) return false;
  const int64_t rows = x.dims[0], features = x.dims[1], classes = weights.dims[1];
  if (std::min({rows, features, classes}) <= 0 || classes > kMostClasses ||
      std::max(rows, features) > kMostProducts || rows * features * classes > kMostProducts) {
    return false;
  }
  const LinearSizes sizes{static_cast<int>(rows), static_cast<int>(features),
                          static_cast<int>(classes)};
  return sizes.shared_bytes() <= kMostShared;
}

bool are_f32(std::span<const TensorType> types) {
  return std::all_of(types.begin(), types.end(),
                     [](const TensorType& type) { return type.dtype == DType::f32; });
}

// Whether the products are x w, then dlogits w'.
bool are_plain_products(const Block& body) {
  bool is_second = false;
  for (int32_t i = 0; i < static_cast<int32_t>(body.size()); ++i) {
    const Node& node = body.node(i);
    if (node.op != &kMatmul) continue;
    if (node.attributes != Attributes(MatmulAttributes{.transpose_b = is_second})) return false;
    is_second = true;
  }
  return true;
}

bool supports(const KernelRequest& request) {
  const std::span<const TensorType> inputs = request.inputs;
  return signature(request.region()) == kLinearCrossEntropy && are_f32(inputs.first(3)) &&
         are_f32(inputs.subspan(4)) && are_small(inputs[0], inputs[1]) &&
         are_plain_products(request.region());
}

KernelFacts describe(const KernelRequest& request, Context&) {
  const LinearSizes s = sizes_of(request);
  return {.fallible = true, .flops = 4.0 * s.rows * s.features * s.classes};
}

PreparedKernel prepare(const KernelRequest& request, Context&) {
  return [s = sizes_of(request), labels = request.inputs[3].dtype](const KernelCall& call) {
    launch("linear_cross_entropy", linear_cross_entropy, s.shape(), call.stream, s,
           LinearCrossEntropy(call, labels));
  };
}

constexpr KernelDef kKernels[] = {{.name = "adjoint.linear_cross_entropy",
                                   .op = "region",
                                   .supports = supports,
                                   .describe = describe,
                                   .prepare = prepare}};

}  // namespace

std::span<const KernelDef> linear_cross_entropy_kernels() { return kKernels; }

}  // namespace adjoint::cuda
