// Kernels of the reductions that are more than one pass, and of argmax and argmin.
#include <memory>

#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/reduce/arg_reduce.h"
#include "runtime/cpu/kernels/region/stages.h"

namespace adjoint::cpu {
namespace {

using Values = const std::vector<Value>&;

// Sixteen-bit floats are reduced in float.
bool is_half(DType dtype) { return dtype == DType::bf16 || dtype == DType::f16; }
Value widened(Value x) { return is_half(x.dtype()) ? cast(x, DType::f32) : x; }

// All results have the shape with the reduced axes kept as 1, whose elements lie as in the other.
std::vector<int64_t> axes_of(const KernelRequest& request) {
  const auto axes = reduced_axes(request.attributes<ReduceAttributes>(),
                                 static_cast<int>(request.inputs[0].dims.size()));
  return {axes.begin(), axes.end()};
}

void finish_half(Stages& stages, int slot, DType dtype) {
  if (is_half(dtype)) stages.add({slot}, [=](Values v) { return cast(v[0], dtype); });
}

// In two passes, so that large means do not cancel.
Stages variance_stages(const KernelRequest& request) {
  const std::vector<int64_t> axes = axes_of(request);
  Stages stages(request.inputs[0]);
  const int center = stages.add({0}, [&](Values v) { return mean(widened(v[0]), axes, true); });
  const int result = stages.add(
      {0, center}, [&](Values v) { return mean(square(widened(v[0]) - v[1]), axes, true); });
  finish_half(stages, result, request.inputs[0].dtype);
  return stages;
}

Stages logsumexp_stages(const KernelRequest& request) {
  const std::vector<int64_t> axes = axes_of(request);
  Stages stages(request.inputs[0]);
  const int top = stages.add({0}, [&](Values v) { return max(widened(v[0]), axes, true); });
  // An infinite maximum cannot be taken out: inf - inf is NaN.
  const int shift = stages.add({top}, [](Values v) { return select(is_finite(v[0]), v[0], 0.0); });
  const int total =
      stages.add({0, shift}, [&](Values v) { return sum(exp(widened(v[0]) - v[1]), axes, true); });
  const int result = stages.add({total, shift}, [](Values v) { return log(v[0]) + v[1]; });
  finish_half(stages, result, request.inputs[0].dtype);
  return stages;
}

template <Stages (*make)(const KernelRequest&)>
KernelFacts describe(const KernelRequest& request) {
  return {.workspace_bytes = make(request).workspace_bytes()};
}
template <Stages (*make)(const KernelRequest&)>
PreparedKernel prepare(const KernelRequest& request) {
  return [stages = std::make_shared<const Stages>(make(request))](const KernelCall& call) {
    stages->run(call);
  };
}

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.argmax", .op = "argmax", .prepare = prepare_argmax},
    {.name = "adjoint.argmin", .op = "argmin", .prepare = prepare_argmin},
    {.name = "adjoint.variance",
     .op = "variance",
     .describe = describe<variance_stages>,
     .prepare = prepare<variance_stages>},
    {.name = "adjoint.logsumexp",
     .op = "logsumexp",
     .describe = describe<logsumexp_stages>,
     .prepare = prepare<logsumexp_stages>},
};

}  // namespace

std::span<const KernelDef> reduce_kernels() { return kKernels; }

}  // namespace adjoint::cpu
