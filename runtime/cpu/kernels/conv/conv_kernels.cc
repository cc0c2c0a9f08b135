// Kernels of conv2d and its gradients.
#include <algorithm>
#include <memory>

#include "ops/conv.h"
#include "runtime/cpu/kernels/conv/depthwise.h"
#include "runtime/cpu/kernels/conv/filter_grad.h"
#include "runtime/cpu/kernels/conv/gather_conv.h"
#include "runtime/cpu/kernels/conv/geometry.h"
#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/widened.h"

namespace adjoint::cpu {
namespace {

// Calls body.operator()<T>() for the type that a widened request computes in.
template <typename Body>
auto visit_wide(const KernelRequest& request, Body body) {
  return request.outputs[0].dtype == DType::f64 ? body.template operator()<double>()
                                                : body.template operator()<float>();
}

ConvGeometry geometry_of(const KernelRequest& r) {
  const std::string_view op = r.node.op->name;
  if (op == kConv2dInputGrad.name) {
    return conv_geometry(r.attributes<Conv2dInputGradAttributes>(), r.outputs[0].dims,
                         r.inputs[0].dims, r.inputs[1].dims);
  }
  if (op == kConv2dFilterGrad.name) {
    return conv_geometry(r.attributes<Conv2dFilterGradAttributes>(), r.inputs[0].dims,
                         r.inputs[1].dims, r.outputs[0].dims);
  }
  return conv_geometry(r.attributes<Conv2dAttributes>(), r.inputs[0].dims, r.outputs[0].dims,
                       r.inputs[1].dims);
}

template <typename A>
DType accumulation_type(const KernelRequest& request) {
  return std::max(widened_type(request), request.attributes<A>().accumulate);
}

bool is_depthwise(const KernelRequest& request) { return geometry_of(request).is_depthwise(); }

// Forward and for the input: sums gathered for each pixel.

template <bool kForward>
KernelFacts describe_gather(const KernelRequest& request) {
  return visit_wide(request, [&]<typename T>() {
    using Conv = GatherConv<T>;
    const ConvGeometry geometry = geometry_of(request);
    const auto direction = kForward ? Conv::Direction::forward : Conv::Direction::backward;
    return KernelFacts{.workspace_bytes = Conv(geometry, direction).workspace_bytes(),
                       .flops = geometry.flops()};
  });
}

template <bool kForward>
PreparedKernel prepare_gather(const KernelRequest& request) {
  return visit_wide(request, [&]<typename T>() -> PreparedKernel {
    using Conv = GatherConv<T>;
    const auto direction = kForward ? Conv::Direction::forward : Conv::Direction::backward;
    return [conv = Conv(geometry_of(request), direction)](const KernelCall& call) {
      conv.run(call.input<T>(0), call.input<T>(1), call.output<T>(0), call.workspace, call.threads);
    };
  });
}

KernelFacts describe_filter_grad(const KernelRequest& request) {
  return visit_wide(request, [&]<typename T>() {
    const ConvGeometry geometry = geometry_of(request);
    return KernelFacts{.workspace_bytes = FilterGrad<T>(geometry).workspace_bytes(),
                       .flops = geometry.flops()};
  });
}

PreparedKernel prepare_filter_grad(const KernelRequest& request) {
  return visit_wide(request, [&]<typename T>() -> PreparedKernel {
    return [grad = FilterGrad<T>(geometry_of(request))](const KernelCall& call) {
      grad.run(call.input<T>(0), call.input<T>(1), call.output<T>(0), call.workspace, call.threads);
    };
  });
}

KernelFacts describe_depthwise(const KernelRequest& request) {
  const ConvGeometry geometry = geometry_of(request);
  KernelFacts facts{.flops = geometry.flops()};
  if (request.node.op->name == kConv2dFilterGrad.name) {
    facts.workspace_bytes =
        depthwise_filter_grad_workspace(geometry, size_of(request.outputs[0].dtype));
  }
  return facts;
}

PreparedKernel prepare_depthwise(const KernelRequest& request) {
  return visit_wide(request, [&]<typename T>() -> PreparedKernel {
    return [geometry = geometry_of(request)](const KernelCall& call) {
      depthwise_forward(geometry, call.input<T>(0), call.input<T>(1), call.output<T>(0),
                        call.threads);
    };
  });
}
PreparedKernel prepare_depthwise_input_grad(const KernelRequest& request) {
  return visit_wide(request, [&]<typename T>() -> PreparedKernel {
    return [geometry = geometry_of(request)](const KernelCall& call) {
      depthwise_input_grad(geometry, call.input<T>(0), call.input<T>(1), call.output<T>(0),
                           call.threads);
    };
  });
}
PreparedKernel prepare_depthwise_filter_grad(const KernelRequest& request) {
  return visit_wide(request, [&]<typename T>() -> PreparedKernel {
    return [geometry = geometry_of(request)](const KernelCall& call) {
      depthwise_filter_grad(geometry, call.input<T>(0), call.input<T>(1), call.output<T>(0),
                            call.workspace, call.threads);
    };
  });
}

constexpr auto kForwardType = accumulation_type<Conv2dAttributes>;
constexpr auto kInputType = accumulation_type<Conv2dInputGradAttributes>;
constexpr auto kFilterType = accumulation_type<Conv2dFilterGradAttributes>;

using Forward = Widened<describe_gather<true>, prepare_gather<true>, kForwardType>;
using InputGrad = Widened<describe_gather<false>, prepare_gather<false>, kInputType>;
using FilterGradient = Widened<describe_filter_grad, prepare_filter_grad, kFilterType>;
using Depthwise = Widened<describe_depthwise, prepare_depthwise, kForwardType>;
using DepthwiseInput = Widened<describe_depthwise, prepare_depthwise_input_grad, kInputType>;
using DepthwiseFilter = Widened<describe_depthwise, prepare_depthwise_filter_grad, kFilterType>;

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.depthwise_conv2d",
     .op = "conv2d",
     .supports = is_depthwise,
     .describe = Depthwise::describe,
     .prepare = Depthwise::prepare},
    {.name = "adjoint.depthwise_conv2d_input_grad",
     .op = "conv2d_input_grad",
     .supports = is_depthwise,
     .describe = DepthwiseInput::describe,
     .prepare = DepthwiseInput::prepare},
    {.name = "adjoint.depthwise_conv2d_filter_grad",
     .op = "conv2d_filter_grad",
     .supports = is_depthwise,
     .describe = DepthwiseFilter::describe,
     .prepare = DepthwiseFilter::prepare},
    {.name = "adjoint.conv2d",
     .op = "conv2d",
     .describe = Forward::describe,
     .prepare = Forward::prepare},
    {.name = "adjoint.conv2d_input_grad",
     .op = "conv2d_input_grad",
     .describe = InputGrad::describe,
     .prepare = InputGrad::prepare},
    {.name = "adjoint.conv2d_filter_grad",
     .op = "conv2d_filter_grad",
     .describe = FilterGradient::describe,
     .prepare = FilterGradient::prepare},
};

}  // namespace

std::span<const KernelDef> conv_kernels() { return kKernels; }

}  // namespace adjoint::cpu
