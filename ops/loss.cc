#include "ops/loss.h"

#include <string>

#include "graph/error.h"
#include "ops/builder.h"
#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace adjoint {
namespace {

using Values = std::vector<Value>;
using Operands = std::span<const Value>;

Value classes(Value logits, Value labels) {
  return one_hot(labels, logits.shape().dims().back(), logits.dtype());
}

Values decompose_cross_entropy(Operands v, const Attributes&) {
  // Picked by select, not by a product, so that a logit of -inf elsewhere does no harm.
  const Value chosen = greater(classes(v[0], v[1]), 0.0);
  return {-sum(select(chosen, log_softmax(v[0]), 0.0), {-1})};
}

Values decompose_cross_entropy_grad(Operands v, const Attributes&) {
  return {expand_dims(v[0], {-1}) * (softmax(v[1]) - classes(v[1], v[2]))};
}

Values decompose_cross_entropy_dense(Operands v, const Attributes&) {
  return {-sum(v[1] * log_softmax(v[0]), {-1})};
}

// The shape of the losses: that of the logits without the classes.
Shape loss_shape(const Inference& in, size_t logits) {
  const Shape& shape = in.shape(logits);
  in.require_float(logits);
  if (shape.rank() == 0 || shape.dims().back() == Dim(0)) {
    in.fail("the logits have no classes: " + to_text(in.operand(logits)));
  }
  return Shape(std::vector<Dim>(shape.begin(), shape.end() - 1));
}

void require_labels(const Inference& in, size_t logits, size_t labels) {
  in.require_integer(labels);
  if (in.shape(labels) == loss_shape(in, logits)) return;
  in.fail("labels " + to_text(in.operand(labels)) + " do not fit logits " +
          to_text(in.operand(logits)));
}

std::vector<Type> infer_cross_entropy(const Inference& in) {
  require_labels(in, 0, 1);
  return {{in.dtype(0), loss_shape(in, 0)}};
}

std::vector<Type> infer_cross_entropy_grad(const Inference& in) {
  require_labels(in, 1, 2);
  if (in.dtype(0) != in.dtype(1) || in.shape(0) != loss_shape(in, 1)) {
    in.fail("the gradient is " + to_text(in.operand(0)) + ", which does not fit logits " +
            to_text(in.operand(1)));
  }
  return {in.operand(1)};
}

std::vector<Type> infer_cross_entropy_dense(const Inference& in) {
  const Shape shape = loss_shape(in, 0);
  if (in.operand(0) != in.operand(1)) {
    in.fail("targets " + to_text(in.operand(1)) + " do not fit logits " + to_text(in.operand(0)));
  }
  return {{in.dtype(0), shape}};
}

Block& common_block(const Located& prediction, Value target) {
  Block& block = block_of(kSub, prediction);
  if (!target) fail_build(kSub, prediction.where, "operand 1 is an empty value");
  return block;
}

}  // namespace

const OpDef kSoftmaxCrossEntropy = {.name = "softmax_cross_entropy",
                                    .min_operands = 2,
                                    .max_operands = 2,
                                    .infer = infer_cross_entropy,
                                    .traits = {.data_checked = true},
                                    .decompose = decompose_cross_entropy};
const OpDef kSoftmaxCrossEntropyGrad = {.name = "softmax_cross_entropy_grad",
                                        .min_operands = 3,
                                        .max_operands = 3,
                                        .infer = infer_cross_entropy_grad,
                                        .traits = {.data_checked = true},
                                        .decompose = decompose_cross_entropy_grad};
const OpDef kSoftmaxCrossEntropyDense = {.name = "softmax_cross_entropy_dense",
                                         .min_operands = 2,
                                         .max_operands = 2,
                                         .infer = infer_cross_entropy_dense,
                                         .decompose = decompose_cross_entropy_dense};

std::span<const OpDef* const> loss_ops() {
  static constexpr const OpDef* kOps[] = {&kSoftmaxCrossEntropy, &kSoftmaxCrossEntropyGrad,
                                          &kSoftmaxCrossEntropyDense};
  return kOps;
}

Value softmax_cross_entropy(Located logits, Value labels) {
  return build(kSoftmaxCrossEntropy, logits, {labels});
}

Value softmax_cross_entropy_grad(Located dloss, Value logits, Value labels) {
  return build(kSoftmaxCrossEntropyGrad, dloss, {logits, labels});
}

Value softmax_cross_entropy_dense(Located logits, Value targets) {
  return build(kSoftmaxCrossEntropyDense, logits, {targets});
}

Value mean_squared_error(Located prediction, Value target) {
  const OriginScope scope(common_block(prediction, target), "mean_squared_error", prediction.where);
  return mean(square(prediction - target));
}

Value l1_loss(Located prediction, Value target) {
  const OriginScope scope(common_block(prediction, target), "l1_loss", prediction.where);
  return mean(abs(prediction - target));
}

Value l2_loss(Located prediction, Value target) {
  const OriginScope scope(common_block(prediction, target), "l2_loss", prediction.where);
  return mean(square(prediction - target)) * 0.5;
}

// Neither softplus is subtracted from a number of its own size, so nothing cancels.
Value binary_cross_entropy_with_logits(Located logits, Value targets) {
  const OriginScope scope(common_block(logits, targets), "binary_cross_entropy", logits.where);
  const Value x = logits;
  return mean(targets * softplus(-x) + (1.0 - targets) * softplus(x));
}

}  // namespace adjoint
