#include "ops/conv.h"

#include <string>
#include <utility>

#include "graph/error.h"
#include "ops/builder.h"

namespace adjoint {
namespace {

void require_channels(const Shape& x, const Shape& filter, int64_t groups) {
  const std::string shapes =
      "input " + to_text(x) + ", filter " + to_text(filter) + ", groups " + std::to_string(groups);
  if (groups < 1) throw GraphError("groups must be at least 1: " + shapes);
  for (int axis : {2, 3}) {
    if (filter[axis] == Dim(0)) throw GraphError("the filter is empty: " + shapes);
  }
  if (filter[2] * groups != x[3]) {
    throw GraphError("channels do not fit: " + shapes + " (" + x[3].to_text() + " and " +
                     (filter[2] * groups).to_text() + ")");
  }
  const auto out = filter[3].constant();
  if (groups > 1 && out && *out % groups != 0) {
    throw GraphError("groups do not divide the channels out: " + shapes);
  }
}

// The output's shape; checks all there is to check.
Shape conv2d_shape(const Shape& x, const Shape& filter, const Conv2dAttributes& attributes) {
  if (x.rank() != 4 || filter.rank() != 4) {
    throw GraphError("not of rank 4: input " + to_text(x) + ", filter " + to_text(filter));
  }
  require_channels(x, filter, attributes.groups);
  const auto axes = conv2d_axes(attributes, filter);
  try {
    return {x[0], window_count(axes[0], x[1]), window_count(axes[1], x[2]), filter[3]};
  } catch (const GraphError& error) {
    throw GraphError(std::string(error.what()) + ": input " + to_text(x) + ", filter " +
                     to_text(filter));
  }
}

void require_gradient(const Inference& in, size_t index, const Shape& expected) {
  if (in.shape(index) == expected) return;
  in.fail("the gradient is " + to_text(in.operand(index)) + ", but the convolution's output " +
          to_text(expected));
}

std::vector<Type> infer_conv2d(const Inference& in) {
  const auto& attributes = in.attributes<Conv2dAttributes>();
  require_accumulation(in, attributes.accumulate);
  return {{in.dtype(0), conv2d_shape(in.shape(0), in.shape(1), attributes)}};
}

std::vector<Type> infer_input_grad(const Inference& in) {
  const auto& attributes = in.attributes<Conv2dInputGradAttributes>();
  require_accumulation(in, attributes.accumulate);
  require_gradient(in, 0, conv2d_shape(attributes.input, in.shape(1), attributes));
  return {{in.dtype(0), attributes.input}};
}

std::vector<Type> infer_filter_grad(const Inference& in) {
  const auto& attributes = in.attributes<Conv2dFilterGradAttributes>();
  require_accumulation(in, attributes.accumulate);
  require_gradient(in, 1, conv2d_shape(in.shape(0), attributes.filter, attributes));
  return {{in.dtype(0), attributes.filter}};
}

// The size that a convolution along this axis maps to `output`.
Dim transposed_size(const WindowAxis& axis, const Dim& output, int64_t extra) {
  if (extra < 0 || extra >= axis.stride) {
    throw GraphError("extra " + std::to_string(extra) + " is not from 0 to below the stride " +
                     std::to_string(axis.stride));
  }
  if (axis.padding == Padding::same) {
    if (extra != 0) throw GraphError("extra rows or columns with padding 'same'");
    return output * axis.stride;
  }
  return (output - 1) * axis.stride + axis.extent() - axis.low - axis.high + extra;
}

}  // namespace

const OpDef kConv2d = {.name = "conv2d",
                       .min_operands = 2,
                       .max_operands = 2,
                       .attributes = &kAttributesOf<Conv2dAttributes>,
                       .infer = infer_conv2d};
const OpDef kConv2dInputGrad = {.name = "conv2d_input_grad",
                                .min_operands = 2,
                                .max_operands = 2,
                                .attributes = &kAttributesOf<Conv2dInputGradAttributes>,
                                .infer = infer_input_grad};
const OpDef kConv2dFilterGrad = {.name = "conv2d_filter_grad",
                                 .min_operands = 2,
                                 .max_operands = 2,
                                 .attributes = &kAttributesOf<Conv2dFilterGradAttributes>,
                                 .infer = infer_filter_grad};

std::span<const OpDef* const> conv_ops() {
  static constexpr const OpDef* kOps[] = {&kConv2d, &kConv2dInputGrad, &kConv2dFilterGrad};
  return kOps;
}

std::array<WindowAxis, 2> conv2d_axes(const Conv2dAttributes& attributes, const Shape& filter) {
  return window_axes({filter[0], filter[1]}, attributes.stride, &attributes.dilation,
                     attributes.padding, attributes.pads);
}

Value conv2d(Located x, Value filter, Conv2dAttributes attributes) {
  return build(kConv2d, x, {filter}, std::move(attributes));
}

Value conv2d_input_grad(Located dy, Value filter, const Shape& input, Conv2dAttributes attributes) {
  return build(kConv2dInputGrad, dy, {filter},
               Conv2dInputGradAttributes{std::move(attributes), input});
}

Value conv2d_filter_grad(Located x, Value dy, const Shape& filter, Conv2dAttributes attributes) {
  return build(kConv2dFilterGrad, x, {dy},
               Conv2dFilterGradAttributes{std::move(attributes), filter});
}

Value conv2d_transpose(Located x, Value filter, Conv2dAttributes attributes,
                       std::array<int64_t, 2> extra) {
  block_of(kConv2dInputGrad, x);
  if (!filter) fail_build(kConv2dInputGrad, x.where, "operand 1 is an empty value");
  if (x.value.rank() != 4 || filter.rank() != 4) {
    fail_build(kConv2dInputGrad, x.where,
               "transposed: an operand is not of rank 4: " + to_text(x.value.type()) + " and " +
                   to_text(filter.type()));
  }
  Shape input;
  try {
    const auto axes = conv2d_axes(attributes, filter.shape());
    input = {x.value.shape()[0], transposed_size(axes[0], x.value.shape()[1], extra[0]),
             transposed_size(axes[1], x.value.shape()[2], extra[1]),
             filter.shape()[2] * attributes.groups};
  } catch (const GraphError& error) {
    fail_build(kConv2dInputGrad, x.where,
               std::string("transposed: ") + error.what() + ": " + to_text(x.value.type()) +
                   " and " + to_text(filter.type()));
  }
  return conv2d_input_grad(x, filter, input, std::move(attributes));
}

}  // namespace adjoint
