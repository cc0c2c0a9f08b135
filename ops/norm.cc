#include "ops/norm.h"

#include <string>

#include "graph/error.h"
#include "ops/builder.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace adjoint {
namespace {

using Values = std::vector<Value>;
using Operands = std::span<const Value>;

// All axes of x but the last.
std::vector<int64_t> batch_axes(Value x) {
  std::vector<int64_t> axes;
  for (int axis = 0; axis + 1 < x.rank(); ++axis) axes.push_back(axis);
  return axes;
}

Value inverse_deviation(Value variance, double epsilon) { return rsqrt(variance + epsilon); }

// The sum over all axes but the last; nothing to do for a vector.
Value sum_to_channels(Value x) { return x.rank() == 1 ? x : sum(x, batch_axes(x)); }

// Decompositions.

Values decompose_batch_norm(Operands v, const Attributes& attributes) {
  const double epsilon = attributes.get<BatchNormAttributes>().epsilon;
  const auto axes = batch_axes(v[0]);
  const Value average = mean(v[0], axes);
  const Value centered = v[0] - average;
  const Value spread = mean(square(centered), axes);
  return {centered * (inverse_deviation(spread, epsilon) * v[1]) + v[2], average, spread};
}

Values decompose_batch_norm_grad(Operands v, const Attributes& attributes) {
  const Value dy = v[0], x = v[1], scale = v[2], average = v[3], spread = v[4];
  const auto axes = batch_axes(x);
  const Value r = inverse_deviation(spread, attributes.get<BatchNormAttributes>().epsilon);
  const Value z = (x - average) * r;
  const Value projection = dy * z;
  const Value dx = scale * r * (dy - mean(dy, axes) - z * mean(projection, axes));
  return {dx, sum(projection, axes), sum(dy, axes)};
}

Values decompose_batch_norm_inference(Operands v, const Attributes& attributes) {
  const Value r = inverse_deviation(v[4], attributes.get<BatchNormAttributes>().epsilon);
  return {(v[0] - v[3]) * (r * v[1]) + v[2]};
}

Values decompose_layer_norm(Operands v, const Attributes& attributes) {
  const double epsilon = attributes.get<LayerNormAttributes>().epsilon;
  const Value average = mean(v[0], {-1}, /*keep=*/true);
  const Value centered = v[0] - average;
  const Value spread = mean(square(centered), {-1}, /*keep=*/true);
  const Value y = centered * inverse_deviation(spread, epsilon) * v[1] + v[2];
  return {y, squeeze(average, {-1}), squeeze(spread, {-1})};
}

Values decompose_layer_norm_grad(Operands v, const Attributes& attributes) {
  const Value dy = v[0], x = v[1], scale = v[2];
  const int64_t last = x.rank() - 1;
  const Value average = expand_dims(v[3], {last}), spread = expand_dims(v[4], {last});
  const Value r = inverse_deviation(spread, attributes.get<LayerNormAttributes>().epsilon);
  const Value z = (x - average) * r;
  const Value h = dy * scale;
  const Value dx = r * (h - mean(h, {-1}, true) - z * mean(h * z, {-1}, true));
  return {dx, sum_to_channels(dy * z), sum_to_channels(dy)};
}

// The maximum cancels out of the value, so no gradient needs to pass through it.
Values decompose_softmax(Operands v, const Attributes& attributes) {
  const int64_t axis = attributes.get<AxisAttributes>().axis;
  const Value e = exp(v[0] - stop_gradient(max(v[0], {axis}, /*keep=*/true)));
  return {e / sum(e, {axis}, /*keep=*/true)};
}

Values decompose_log_softmax(Operands v, const Attributes& attributes) {
  const int64_t axis = attributes.get<AxisAttributes>().axis;
  const Value shifted = v[0] - stop_gradient(max(v[0], {axis}, /*keep=*/true));
  return {shifted - log(sum(exp(shifted), {axis}, /*keep=*/true))};
}

// Inference.

void require_shape(const Inference& in, size_t index, const Shape& expected) {
  if (in.shape(index) == expected) return;
  in.fail("operand " + std::to_string(index) + " is " + to_text(in.operand(index)) +
          ", not of shape " + to_text(expected) + " as the input " + to_text(in.operand(0)) +
          " demands");
}

void require_epsilon(const Inference& in, double epsilon) {
  if (!(epsilon >= 0)) in.fail("epsilon is " + field_text(epsilon) + ", not 0 or more");
}

// Checks the types and the rank of operand `x`; its last dimension, [c].
Shape channels_of(const Inference& in, size_t x, int least_rank) {
  in.require_float(0);
  in.require_same_dtype();
  if (in.shape(x).rank() < least_rank) {
    in.fail("operand " + std::to_string(x) + " is " + to_text(in.operand(x)) + ", not of rank " +
            std::to_string(least_rank) + " or more");
  }
  return {in.shape(x).dims().back()};
}

Shape without_last(const Shape& shape) {
  return Shape(std::vector<Dim>(shape.begin(), shape.end() - 1));
}

std::vector<Type> infer_norm(const Inference& in, int least_rank, bool per_channel) {
  const Shape channels = channels_of(in, 0, least_rank);
  require_shape(in, 1, channels);
  require_shape(in, 2, channels);
  const Type statistic{in.dtype(0), per_channel ? channels : without_last(in.shape(0))};
  return {in.operand(0), statistic, statistic};
}

std::vector<Type> infer_norm_grad(const Inference& in, int least_rank, bool per_channel) {
  const Shape channels = channels_of(in, 0, least_rank);
  const Shape statistic = per_channel ? channels : without_last(in.shape(0));
  require_shape(in, 1, in.shape(0));
  require_shape(in, 2, channels);
  require_shape(in, 3, statistic);
  require_shape(in, 4, statistic);
  return {in.operand(1), in.operand(2), in.operand(2)};
}

std::vector<Type> infer_batch_norm(const Inference& in) {
  require_epsilon(in, in.attributes<BatchNormAttributes>().epsilon);
  return infer_norm(in, 2, /*per_channel=*/true);
}

std::vector<Type> infer_batch_norm_grad(const Inference& in) {
  require_epsilon(in, in.attributes<BatchNormAttributes>().epsilon);
  return infer_norm_grad(in, 2, /*per_channel=*/true);
}

std::vector<Type> infer_batch_norm_inference(const Inference& in) {
  require_epsilon(in, in.attributes<BatchNormAttributes>().epsilon);
  const Shape channels = channels_of(in, 0, 1);
  for (size_t i = 1; i < 5; ++i) require_shape(in, i, channels);
  return {in.operand(0)};
}

std::vector<Type> infer_layer_norm(const Inference& in) {
  require_epsilon(in, in.attributes<LayerNormAttributes>().epsilon);
  return infer_norm(in, 1, /*per_channel=*/false);
}

std::vector<Type> infer_layer_norm_grad(const Inference& in) {
  require_epsilon(in, in.attributes<LayerNormAttributes>().epsilon);
  return infer_norm_grad(in, 1, /*per_channel=*/false);
}

std::vector<Type> infer_softmax(const Inference& in) {
  in.require_float(0);
  checked_axis(in, in.attributes<AxisAttributes>().axis, in.shape(0).rank());
  return {in.operand(0)};
}

Normalized normalized(Value first) { return {first, first.output(1), first.output(2)}; }
NormGradients gradients_of(Value first) { return {first, first.output(1), first.output(2)}; }

AxisAttributes completed(const OpDef& op, const Located& x, int64_t axis) {
  block_of(op, x);
  return {complete_axis(axis, x.value.rank())};
}

}  // namespace

const OpDef kBatchNorm = {.name = "batch_norm",
                          .min_operands = 3,
                          .max_operands = 3,
                          .attributes = &kAttributesOf<BatchNormAttributes>,
                          .infer = infer_batch_norm,
                          .decompose = decompose_batch_norm};
const OpDef kBatchNormGrad = {.name = "batch_norm_grad",
                              .min_operands = 5,
                              .max_operands = 5,
                              .attributes = &kAttributesOf<BatchNormAttributes>,
                              .infer = infer_batch_norm_grad,
                              .decompose = decompose_batch_norm_grad};
const OpDef kBatchNormInference = {.name = "batch_norm_inference",
                                   .min_operands = 5,
                                   .max_operands = 5,
                                   .attributes = &kAttributesOf<BatchNormAttributes>,
                                   .infer = infer_batch_norm_inference,
                                   .decompose = decompose_batch_norm_inference};
const OpDef kLayerNorm = {.name = "layer_norm",
                          .min_operands = 3,
                          .max_operands = 3,
                          .attributes = &kAttributesOf<LayerNormAttributes>,
                          .infer = infer_layer_norm,
                          .decompose = decompose_layer_norm};
const OpDef kLayerNormGrad = {.name = "layer_norm_grad",
                              .min_operands = 5,
                              .max_operands = 5,
                              .attributes = &kAttributesOf<LayerNormAttributes>,
                              .infer = infer_layer_norm_grad,
                              .decompose = decompose_layer_norm_grad};
const OpDef kSoftmax = {.name = "softmax",
                        .min_operands = 1,
                        .max_operands = 1,
                        .attributes = &kAttributesOf<AxisAttributes>,
                        .infer = infer_softmax,
                        .decompose = decompose_softmax};
const OpDef kLogSoftmax = {.name = "log_softmax",
                           .min_operands = 1,
                           .max_operands = 1,
                           .attributes = &kAttributesOf<AxisAttributes>,
                           .infer = infer_softmax,
                           .decompose = decompose_log_softmax};

std::span<const OpDef* const> norm_ops() {
  static constexpr const OpDef* kOps[] = {&kBatchNorm, &kBatchNormGrad, &kBatchNormInference,
                                          &kLayerNorm, &kLayerNormGrad, &kSoftmax,
                                          &kLogSoftmax};
  return kOps;
}

Normalized batch_norm(Located x, Value scale, Value offset, double epsilon) {
  return normalized(build(kBatchNorm, x, {scale, offset}, BatchNormAttributes{epsilon}));
}

NormGradients batch_norm_grad(Located dy, Value x, Value scale, Value mean, Value variance,
                              double epsilon) {
  return gradients_of(
      build(kBatchNormGrad, dy, {x, scale, mean, variance}, BatchNormAttributes{epsilon}));
}

Value batch_norm_inference(Located x, Value scale, Value offset, Value mean, Value variance,
                           double epsilon) {
  return build(kBatchNormInference, x, {scale, offset, mean, variance},
               BatchNormAttributes{epsilon});
}

Normalized layer_norm(Located x, Value scale, Value offset, double epsilon) {
  return normalized(build(kLayerNorm, x, {scale, offset}, LayerNormAttributes{epsilon}));
}

NormGradients layer_norm_grad(Located dy, Value x, Value scale, Value mean, Value variance,
                              double epsilon) {
  return gradients_of(
      build(kLayerNormGrad, dy, {x, scale, mean, variance}, LayerNormAttributes{epsilon}));
}

Value softmax(Located x, int64_t axis) {
  return build(kSoftmax, x, {}, completed(kSoftmax, x, axis));
}

Value log_softmax(Located x, int64_t axis) {
  return build(kLogSoftmax, x, {}, completed(kLogSoftmax, x, axis));
}

}  // namespace adjoint
