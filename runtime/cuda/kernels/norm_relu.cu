// Kernels of batch normalisation with relu and perhaps a bias and a max pool, and of their
// backward: the regions of runtime/patterns.h.
#include <algorithm>
#include <initializer_list>
#include <string>

#include "ops/norm.h"
#include "ops/pool.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/batch_norm.h"
#include "runtime/cuda/kernels/visit.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

// In 16 bits what lies between would have to be rounded as the single ops round it.
bool is_wide_float(const KernelRequest& request) {
  return !request.inputs.empty() &&
         (request.inputs[0].dtype == DType::f32 || request.inputs[0].dtype == DType::f64);
}

bool matches(const KernelRequest& request, std::initializer_list<const char*> signatures) {
  if (!is_wide_float(request)) return false;
  const std::string text = signature(request.region());
  return std::find(signatures.begin(), signatures.end(), text) != signatures.end();
}
bool supports_training(const KernelRequest& request) {
  return matches(request, {kNormRelu, kNormReluPool, kBiasNormRelu, kBiasNormReluPool});
}
bool supports_inference(const KernelRequest& request) {
  return matches(request, {kInferenceNormRelu, kInferenceNormReluPool, kBiasInferenceNormRelu,
                           kBiasInferenceNormReluPool});
}
bool supports_grad(const KernelRequest& request) {
  return matches(request,
                 {kNormReluGrad, kNormReluPoolGrad, kBiasNormReluGrad, kBiasNormReluPoolGrad});
}

// What a region's body says.
struct Body {
  const PoolAttributes* pool = nullptr;
  double epsilon = 0;

  explicit Body(const Block& body) {
    for (int32_t i = 0; i < static_cast<int32_t>(body.size()); ++i) {
      const Attributes& attributes = body.node(i).attributes;
      if (attributes.holds<PoolAttributes>()) pool = &attributes.get<PoolAttributes>();
      if (attributes.holds<BatchNormAttributes>()) {
        epsilon = attributes.get<BatchNormAttributes>().epsilon;
      }
    }
  }
};

template <typename T>
BatchNorm<T, true> norm_of(const KernelRequest& request, size_t x) {
  const Body body(request.region());
  return {request.inputs[x].dims, body.pool, body.epsilon};
}

double elements(const KernelRequest& request, size_t x) {
  return static_cast<double>(request.inputs[x].element_count());
}

KernelFacts describe_training(const KernelRequest& request, Context&) {
  return visit_wide_float(request.inputs[0].dtype, [&]<typename T>() -> KernelFacts {
    return {.workspace_bytes = norm_of<T>(request, 0).forward_bytes(),
            .flops = 6 * elements(request, 0)};
  });
}

PreparedKernel prepare_training(const KernelRequest& request, Context&) {
  return visit_wide_float(request.inputs[0].dtype, [&]<typename T>() -> PreparedKernel {
    return [norm = norm_of<T>(request, 0)](const KernelCall& call) { norm.forward(call); };
  });
}

KernelFacts describe_inference(const KernelRequest& request, Context&) {
  return {.flops = 2 * elements(request, 0)};
}

PreparedKernel prepare_inference(const KernelRequest& request, Context&) {
  return visit_wide_float(request.inputs[0].dtype, [&]<typename T>() -> PreparedKernel {
    return [norm = norm_of<T>(request, 0)](const KernelCall& call) { norm.inference(call); };
  });
}

KernelFacts describe_grad(const KernelRequest& request, Context&) {
  return visit_wide_float(request.inputs[0].dtype, [&]<typename T>() -> KernelFacts {
    return {.workspace_bytes = norm_of<T>(request, 1).backward_bytes(),
            .flops = 12 * elements(request, 1)};
  });
}

PreparedKernel prepare_grad(const KernelRequest& request, Context&) {
  return visit_wide_float(request.inputs[0].dtype, [&]<typename T>() -> PreparedKernel {
    return [norm = norm_of<T>(request, 1)](const KernelCall& call) { norm.backward(call); };
  });
}

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.norm_relu",
     .op = "region",
     .supports = supports_training,
     .describe = describe_training,
     .prepare = prepare_training},
    {.name = "adjoint.norm_relu_inference",
     .op = "region",
     .supports = supports_inference,
     .describe = describe_inference,
     .prepare = prepare_inference},
    {.name = "adjoint.norm_relu_grad",
     .op = "region",
     .supports = supports_grad,
     .describe = describe_grad,
     .prepare = prepare_grad},
};

}  // namespace

std::span<const KernelDef> norm_relu_kernels() { return kKernels; }

}  // namespace adjoint::cuda
