#include "ops/pool.h"

#include <string>
#include <utility>

#include "graph/error.h"
#include "ops/builder.h"

namespace adjoint {
namespace {

Shape pooled_shape(const Shape& x, const PoolAttributes& attributes) {
  if (x.rank() != 4) throw GraphError("the input is not of rank 4: " + to_text(x));
  const auto axes = pool_axes(attributes);
  try {
    return {x[0], window_count(axes[0], x[1]), window_count(axes[1], x[2]), x[3]};
  } catch (const GraphError& error) {
    throw GraphError(std::string(error.what()) + ": input " + to_text(x) + ", window " +
                     field_text(attributes.window));
  }
}

void require_shape(const Inference& in, size_t index, const Shape& expected) {
  if (in.shape(index) == expected) return;
  in.fail("operand " + std::to_string(index) + " is " + to_text(in.operand(index)) +
          ", not of shape " + to_text(expected));
}

std::vector<Type> infer_max_pool(const Inference& in) {
  in.require_float(0);
  return {{in.dtype(0), pooled_shape(in.shape(0), in.attributes<PoolAttributes>())}};
}

std::vector<Type> infer_max_pool_grad(const Inference& in) {
  in.require_float(0);
  in.require_same_dtype();
  require_shape(in, 0, pooled_shape(in.shape(1), in.attributes<PoolAttributes>()));
  return {in.operand(1)};
}

std::vector<Type> infer_max_pool_pick(const Inference& in) {
  in.require_float(0);
  in.require_same_dtype();
  require_shape(in, 0, in.shape(1));
  return {{in.dtype(0), pooled_shape(in.shape(1), in.attributes<PoolAttributes>())}};
}

std::vector<Type> infer_avg_pool(const Inference& in) {
  in.require_float(0);
  return {{in.dtype(0), pooled_shape(in.shape(0), in.attributes<AvgPoolAttributes>())}};
}

std::vector<Type> infer_avg_pool_grad(const Inference& in) {
  const auto& attributes = in.attributes<AvgPoolGradAttributes>();
  in.require_float(0);
  require_shape(in, 0, pooled_shape(attributes.input, attributes));
  return {{in.dtype(0), attributes.input}};
}

PoolAttributes completed(PoolAttributes attributes) {
  if (attributes.stride.empty()) attributes.stride = attributes.window;
  return attributes;
}

}  // namespace

const OpDef kMaxPool = {.name = "max_pool",
                        .min_operands = 1,
                        .max_operands = 1,
                        .attributes = &kAttributesOf<PoolAttributes>,
                        .infer = infer_max_pool};
const OpDef kMaxPoolGrad = {.name = "max_pool_grad",
                            .min_operands = 2,
                            .max_operands = 2,
                            .attributes = &kAttributesOf<PoolAttributes>,
                            .infer = infer_max_pool_grad};
const OpDef kMaxPoolPick = {.name = "max_pool_pick",
                            .min_operands = 2,
                            .max_operands = 2,
                            .attributes = &kAttributesOf<PoolAttributes>,
                            .infer = infer_max_pool_pick};
const OpDef kAvgPool = {.name = "avg_pool",
                        .min_operands = 1,
                        .max_operands = 1,
                        .attributes = &kAttributesOf<AvgPoolAttributes>,
                        .infer = infer_avg_pool};
const OpDef kAvgPoolGrad = {.name = "avg_pool_grad",
                            .min_operands = 1,
                            .max_operands = 1,
                            .attributes = &kAttributesOf<AvgPoolGradAttributes>,
                            .infer = infer_avg_pool_grad};

std::span<const OpDef* const> pool_ops() {
  static constexpr const OpDef* kOps[] = {&kMaxPool, &kMaxPoolGrad, &kMaxPoolPick, &kAvgPool,
                                          &kAvgPoolGrad};
  return kOps;
}

std::array<WindowAxis, 2> pool_axes(const PoolAttributes& attributes) {
  const std::vector<int64_t>& window = attributes.window;
  if (window.size() != 2) {
    throw GraphError("the window takes 2 numbers, not " + field_text(window));
  }
  const auto axes = window_axes({window[0], window[1]}, attributes.stride, nullptr,
                                attributes.padding, attributes.pads);
  for (const WindowAxis& axis : axes) {
    // A window of padding alone would have no largest element and no mean.
    if (axis.low < axis.size && axis.high < axis.size) continue;
    throw GraphError("a pad is as large as the window: pads " + field_text(attributes.pads) +
                     ", window " + field_text(window));
  }
  return axes;
}

Value max_pool(Located x, PoolAttributes attributes) {
  return build(kMaxPool, x, {}, completed(std::move(attributes)));
}

Value max_pool_grad(Located dy, Value x, PoolAttributes attributes) {
  return build(kMaxPoolGrad, dy, {x}, completed(std::move(attributes)));
}

Value max_pool_pick(Located g, Value x, PoolAttributes attributes) {
  return build(kMaxPoolPick, g, {x}, completed(std::move(attributes)));
}

Value avg_pool(Located x, PoolAttributes attributes, bool count_include_pad) {
  return build(kAvgPool, x, {},
               AvgPoolAttributes{completed(std::move(attributes)), count_include_pad});
}

Value avg_pool_grad(Located dy, const Shape& input, PoolAttributes attributes,
                    bool count_include_pad) {
  const AvgPoolAttributes average{completed(std::move(attributes)), count_include_pad};
  return build(kAvgPoolGrad, dy, {}, AvgPoolGradAttributes{average, input});
}

}  // namespace adjoint
