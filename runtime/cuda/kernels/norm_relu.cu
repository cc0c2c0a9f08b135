// Kernels of batch normalisation with relu and perhaps a bias and a max pool, and of their
// backward: the regions of runtime/patterns.h, in f32, f64, or f32 stored as bf16.
#include <algorithm>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/error.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/batch_norm.h"
#include "runtime/cuda/kernels/norm_relu.h"
#include "runtime/cuda/kernels/visit.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

// What the operands and results of a region are stored as: x and dx, y and dy, vectors.
struct Storage {
  DType x, y, vectors;
};

// Vectors are of f32 or f64, and what is computed is too: in 16 bits what lies between would have
// to be rounded as the single ops round it. x and y may be of bf16, cast as they are read and
// written.
bool is_stored(const Storage& storage, std::span<const TensorType> vectors) {
  const DType wide = storage.vectors;
  const auto fits = [&](DType stored) {
    return stored == wide || (stored == DType::bf16 && wide == DType::f32);
  };
  return (wide == DType::f32 || wide == DType::f64) && fits(storage.x) && fits(storage.y) &&
         std::all_of(vectors.begin(), vectors.end(),
                     [&](const TensorType& type) { return type.dtype == wide; });
}

bool matches(const KernelRequest& request, std::initializer_list<const char*> signatures) {
  const std::string text = signature_between_casts(request.region());
  return std::find(signatures.begin(), signatures.end(), text) != signatures.end();
}

std::span<const TensorType> from(const std::vector<TensorType>& types, size_t first) {
  return std::span(types).subspan(first);
}

Storage forward_storage(const KernelRequest& request) {
  return {request.inputs[0].dtype, request.outputs[0].dtype, request.inputs[1].dtype};
}
Storage grad_storage(const KernelRequest& request) {
  return {request.inputs[1].dtype, request.inputs[0].dtype, request.inputs[2].dtype};
}

bool is_forward_stored(const KernelRequest& request) {
  const Storage storage = forward_storage(request);
  return is_stored(storage, from(request.inputs, 1)) &&
         is_stored(storage, from(request.outputs, 1));
}

// Calls body<X, Y, P>(), as BatchNorm has them.
template <typename Body>
auto visit_storage(const Storage& storage, Body&& body) {
  const bool x = storage.x == DType::bf16, y = storage.y == DType::bf16;
  if (storage.vectors == DType::f64) return body.template operator()<double, double, double>();
  if (x && y) return body.template operator()<Bf16, Bf16, float>();
  if (x) return body.template operator()<Bf16, float, float>();
  if (y) return body.template operator()<float, Bf16, float>();
  return body.template operator()<float, float, float>();
}

template <typename X, typename Y, typename P>
BatchNorm<X, Y, P, true> norm_of(const KernelRequest& request, size_t x) {
  const NormFacts facts(request.region());
  return {request.inputs[x].dims, facts.pool, facts.epsilon};
}

double elements(const KernelRequest& request, size_t x) {
  return static_cast<double>(request.inputs[x].element_count());
}

bool supports_training(const KernelRequest& request) {
  return matches(request, {kNormRelu, kNormReluPool, kBiasNormRelu, kBiasNormReluPool}) &&
         is_forward_stored(request);
}
bool supports_inference(const KernelRequest& request) {
  return matches(request, {kInferenceNormRelu, kInferenceNormReluPool, kBiasInferenceNormRelu,
                           kBiasInferenceNormReluPool}) &&
         is_forward_stored(request);
}
KernelFacts describe_training(const KernelRequest& request, Context&) {
  return visit_storage(forward_storage(request),
                       [&]<typename X, typename Y, typename P>() -> KernelFacts {
                         return {.workspace_bytes = norm_of<X, Y, P>(request, 0).forward_bytes(),
                                 .flops = 6 * elements(request, 0)};
                       });
}

PreparedKernel prepare_training(const KernelRequest& request, Context&) {
  return visit_storage(
      forward_storage(request), [&]<typename X, typename Y, typename P>() -> PreparedKernel {
        return
            [norm = norm_of<X, Y, P>(request, 0)](const KernelCall& call) { norm.forward(call); };
      });
}

KernelFacts describe_inference(const KernelRequest& request, Context&) {
  return {.flops = 2 * elements(request, 0)};
}

PreparedKernel prepare_inference(const KernelRequest& request, Context&) {
  return visit_storage(
      forward_storage(request), [&]<typename X, typename Y, typename P>() -> PreparedKernel {
        return
            [norm = norm_of<X, Y, P>(request, 0)](const KernelCall& call) { norm.inference(call); };
      });
}

// Makes body(norm, call) the kernel.
template <typename Body>
PreparedKernel prepare_grad(const KernelRequest& request, Body body) {
  return visit_storage(grad_storage(request),
                       [&]<typename X, typename Y, typename P>() -> PreparedKernel {
                         return [norm = norm_of<X, Y, P>(request, 1),
                                 body](const KernelCall& call) { body(norm, call); };
                       });
}

}  // namespace

bool supports_norm_relu_grad(const KernelRequest& request) {
  const bool sums = matches(request, {kBiasNormReluBiasGrad, kBiasNormReluPoolBiasGrad});
  if (!sums && !matches(request, {kNormReluGrad, kNormReluPoolGrad, kBiasNormReluGrad,
                                  kBiasNormReluPoolGrad})) {
    return false;
  }
  // The sums of x - mean are those of the windows.
  const NormWindows windows(request.inputs[1].dims, NormFacts(request.region()).pool);
  const Storage storage = grad_storage(request);
  return (!sums || windows.cover()) && request.outputs[0].dtype == storage.x &&
         is_stored(storage, from(request.inputs, 2)) &&
         is_stored(storage, from(request.outputs, 1));
}

KernelFacts describe_norm_relu_grad(const KernelRequest& request, Context&) {
  return visit_storage(grad_storage(request),
                       [&]<typename X, typename Y, typename P>() -> KernelFacts {
                         return {.workspace_bytes = norm_of<X, Y, P>(request, 1).backward_bytes(),
                                 .flops = 12 * elements(request, 1)};
                       });
}

PreparedKernel prepare_norm_relu_grad_sums(const KernelRequest& request, Context&) {
  return prepare_grad(request,
                      [](const auto& norm, const KernelCall& call) { norm.backward_sums(call); });
}
PreparedKernel prepare_norm_relu_grad_write(const KernelRequest& request, Context&) {
  return prepare_grad(request,
                      [](const auto& norm, const KernelCall& call) { norm.backward_write(call); });
}

namespace {

// The variants of the whole: in one launch, where that fits, or in two.
constexpr std::string_view kInOne = "in-one", kApart = "apart";

bool fits_in_one(const KernelRequest& request) {
  return visit_storage(grad_storage(request), [&]<typename X, typename Y, typename P>() {
    return norm_of<X, Y, P>(request, 1).fits_backward_in_one();
  });
}

std::vector<std::string> grad_variants(const KernelRequest& request, Context&) {
  if (!fits_in_one(request)) return {std::string(kApart)};
  return {std::string(kInOne), std::string(kApart)};
}

PreparedKernel prepare_grad_apart(const KernelRequest& request, Context&) {
  return prepare_grad(request,
                      [](const auto& norm, const KernelCall& call) { norm.backward_apart(call); });
}

PreparedKernel prepare_norm_relu_grad(const KernelRequest& request, Context& context) {
  const bool fits = fits_in_one(request);
  const std::string_view variant = !request.variant.empty() ? request.variant
                                   : fits                   ? kInOne
                                                            : kApart;
  if (variant == kApart) return prepare_grad_apart(request, context);
  if (variant != kInOne || !fits) {
    throw PlanError("batch norm's gradient is not computed in " + std::string(variant));
  }
  return prepare_grad(request,
                      [](const auto& norm, const KernelCall& call) { norm.backward_in_one(call); });
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
     .supports = supports_norm_relu_grad,
     .describe = describe_norm_relu_grad,
     .prepare = prepare_norm_relu_grad,
     .variants = grad_variants},
};

// What has halves.
constexpr KernelDef kGradApart = {.name = "adjoint.norm_relu_grad",
                                  .op = "region",
                                  .supports = supports_norm_relu_grad,
                                  .describe = describe_norm_relu_grad,
                                  .prepare = prepare_grad_apart};

}  // namespace

std::span<const KernelDef> norm_relu_kernels() { return kKernels; }

const KernelDef& norm_relu_inference_kernel() { return kKernels[1]; }

NormGradKernel norm_relu_grad_kernel() {
  return {&kGradApart, [](const KernelRequest& request, Context& context) -> NormGradSums {
            return [sums = prepare_norm_relu_grad_sums(request, context)](
                       const KernelCall& call, const PreparedKernel& write) {
              sums(call);
              write(call);
            };
          }};
}

}  // namespace adjoint::cuda
