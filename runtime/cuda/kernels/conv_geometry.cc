#include "runtime/cuda/kernels/conv_geometry.h"

#include <array>

#include "ops/conv.h"
#include "runtime/cuda/filter_layout.h"

namespace adjoint::cuda {
namespace {

using Dims = std::vector<int64_t>;

ConvGeometry geometry(const Conv2dAttributes& attributes, const Dims& x, const Dims& y,
                      const Dims& filter) {
  const std::array<WindowAxis, 2> windows = conv2d_axes(attributes, Shape::of(filter));
  ConvGeometry result{
      .batch = x[0], .x_channels = x[3], .y_channels = y[3], .groups = attributes.groups};
  for (int i = 0; i < 2; ++i) {
    result.axes[i] = {.x = x[1 + i],
                      .y = y[1 + i],
                      .filter = filter[i],
                      .stride = windows[i].stride,
                      .dilation = windows[i].dilation,
                      .pad = pads_of(windows[i], x[1 + i]).low};
  }
  return result;
}

// Calls visit(attributes, x, y, filter) for the op at hand.
template <typename Visit>
auto visit_conv(const KernelRequest& r, Visit visit) {
  const std::string_view op = r.node.op->name;
  const Dims& first = r.inputs[0].dims;
  const Dims& second = r.inputs[1].dims;
  const Dims& result = r.outputs[0].dims;
  if (op == kConv2dInputGrad.name) {
    return visit(r.attributes<Conv2dInputGradAttributes>(), result, first, second);
  }
  if (op == kConv2dFilterGrad.name) {
    return visit(r.attributes<Conv2dFilterGradAttributes>(), first, second, result);
  }
  return visit(r.attributes<Conv2dAttributes>(), first, result, second);
}

}  // namespace

ConvGeometry geometry_of(const KernelRequest& request) { return visit_conv(request, geometry); }

DType accumulation_of(const KernelRequest& request) {
  return visit_conv(request, [](const Conv2dAttributes& attributes, const Dims&, const Dims&,
                                const Dims&) { return attributes.accumulate; });
}

KernelRequest convolution_in(const KernelRequest& region) {
  const Block& body = region.region();
  int32_t index = 0;
  while (!is_convolution(body.node(index))) ++index;
  const Node& node = body.node(index);
  KernelRequest request{node, {}, {concrete(node.types[0])}};
  for (ValueId operand : node.operands) request.inputs.push_back(concrete(body.type(operand)));
  return request;
}

}  // namespace adjoint::cuda
