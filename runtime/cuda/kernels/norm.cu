// Kernels of batch_norm, layer_norm and their gradients. batch_norm_inference has none: it
// decomposes into elementwise ops.
#include "ops/norm.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/batch_norm.h"
#include "runtime/cuda/kernels/layer_norm.h"
#include "runtime/cuda/kernels/visit.h"

namespace adjoint::cuda {
namespace {

template <typename T>
BatchNorm<T, T, T, false> batch_norm_of(const KernelRequest& request, size_t x) {
  return {request.inputs[x].dims, nullptr, request.attributes<BatchNormAttributes>().epsilon};
}

KernelFacts describe_batch_norm(const KernelRequest& request, Context&) {
  return visit_float(request.inputs[0].dtype, [&]<typename T>() -> KernelFacts {
    return {.workspace_bytes = batch_norm_of<T>(request, 0).forward_bytes(), .in_place = {{0, 0}}};
  });
}

PreparedKernel prepare_batch_norm(const KernelRequest& request, Context&) {
  return visit_float(request.inputs[0].dtype, [&]<typename T>() -> PreparedKernel {
    return [norm = batch_norm_of<T>(request, 0)](const KernelCall& call) { norm.forward(call); };
  });
}

KernelFacts describe_batch_norm_grad(const KernelRequest& request, Context&) {
  return visit_float(request.inputs[0].dtype, [&]<typename T>() -> KernelFacts {
    return {.workspace_bytes = batch_norm_of<T>(request, 1).backward_bytes(),
            .in_place = {{0, 0}, {0, 1}}};
  });
}

PreparedKernel prepare_batch_norm_grad(const KernelRequest& request, Context&) {
  return visit_float(request.inputs[0].dtype, [&]<typename T>() -> PreparedKernel {
    return [norm = batch_norm_of<T>(request, 1)](const KernelCall& call) { norm.backward(call); };
  });
}

template <typename T>
LayerNorm<T> layer_norm_of(const KernelRequest& request, size_t x) {
  return {request.inputs[x].dims, request.attributes<LayerNormAttributes>().epsilon};
}

KernelFacts describe_layer_norm(const KernelRequest&, Context&) { return {.in_place = {{0, 0}}}; }

PreparedKernel prepare_layer_norm(const KernelRequest& request, Context&) {
  return visit_float(request.inputs[0].dtype, [&]<typename T>() -> PreparedKernel {
    return [norm = layer_norm_of<T>(request, 0)](const KernelCall& call) { norm.forward(call); };
  });
}

KernelFacts describe_layer_norm_grad(const KernelRequest& request, Context&) {
  return visit_float(request.inputs[0].dtype, [&]<typename T>() -> KernelFacts {
    return {.workspace_bytes = layer_norm_of<T>(request, 1).backward_bytes(),
            .in_place = {{0, 0}, {0, 1}}};
  });
}

PreparedKernel prepare_layer_norm_grad(const KernelRequest& request, Context&) {
  return visit_float(request.inputs[0].dtype, [&]<typename T>() -> PreparedKernel {
    return [norm = layer_norm_of<T>(request, 1)](const KernelCall& call) { norm.backward(call); };
  });
}

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.batch_norm",
     .op = "batch_norm",
     .describe = describe_batch_norm,
     .prepare = prepare_batch_norm},
    {.name = "adjoint.batch_norm_grad",
     .op = "batch_norm_grad",
     .describe = describe_batch_norm_grad,
     .prepare = prepare_batch_norm_grad},
    {.name = "adjoint.layer_norm",
     .op = "layer_norm",
     .describe = describe_layer_norm,
     .prepare = prepare_layer_norm},
    {.name = "adjoint.layer_norm_grad",
     .op = "layer_norm_grad",
     .describe = describe_layer_norm_grad,
     .prepare = prepare_layer_norm_grad},
};

}  // namespace

std::span<const KernelDef> norm_kernels() { return kKernels; }

}  // namespace adjoint::cuda
