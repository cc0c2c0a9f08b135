// Batch normalisation with relu and perhaps a bias and a max pool, in the regions of
// runtime/patterns.h, for kernels that go on with its result, and its backward, for those that
// compute its dy themselves.
#pragma once

#include <functional>
#include <span>

#include "ops/norm.h"
#include "ops/pool.h"
#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

// What a region's body says.
struct NormFacts {
  const PoolAttributes* pool = nullptr;
  double epsilon = 0;

  explicit NormFacts(const Block& body) {
    for (int32_t i = 0; i < static_cast<int32_t>(body.size()); ++i) {
      const Attributes& attributes = body.node(i).attributes;
      if (attributes.holds<PoolAttributes>()) pool = &attributes.get<PoolAttributes>();
      if (attributes.holds<BatchNormAttributes>()) {
        epsilon = attributes.get<BatchNormAttributes>().epsilon;
      }
    }
  }
};

// With given moments.
const KernelDef& norm_relu_inference_kernel();

bool supports_norm_relu_grad(const KernelRequest& request);
KernelFacts describe_norm_relu_grad(const KernelRequest& request, Context&);
// Its halves: all but dx, which stores the sums of each channel (NormGradArguments), and dx.
PreparedKernel prepare_norm_relu_grad_sums(const KernelRequest& request, Context&);
PreparedKernel prepare_norm_relu_grad_write(const KernelRequest& request, Context&);

// The first half of a kernel that computes this gradient, perhaps with more before it: hands batch
// norm's own call to `write`, which has dx to do.
using NormGradSums = std::function<void(const KernelCall&, const PreparedKernel& write)>;
struct NormGradKernel {
  const KernelDef* whole;
  NormGradSums (*prepare_sums)(const KernelRequest&, Context&);
};
NormGradKernel norm_relu_grad_kernel();
// In the order in which they compete (conv_norm_grad_kernels.cc).
std::span<const NormGradKernel, 3> conv_norm_grad_halves();

}  // namespace adjoint::cuda
