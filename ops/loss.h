// Losses.
//
//   Value loss = mean(softmax_cross_entropy(logits, labels));       // [batch,10], i64[batch]
//   Value error = mean_squared_error(prediction, target);           // a scalar
//
// All throw GraphError naming the op, the types and the user's line.
#pragma once

#include <span>

#include "graph/block.h"

namespace adjoint {

extern const OpDef kSoftmaxCrossEntropy, kSoftmaxCrossEntropyGrad, kSoftmaxCrossEntropyDense;

std::span<const OpDef* const> loss_ops();

// -log(softmax(logits)[label]) for each row: floats [...,c], integers [...] -> [...]. A label
// outside 0 .. c-1 throws DataError when the step runs.
Value softmax_cross_entropy(Located logits, Value labels);
// Its gradient for the logits: dloss[...,None] * (softmax(logits) - one_hot(labels)) -> [...,c].
Value softmax_cross_entropy_grad(Located dloss, Value logits, Value labels);
// -sum(targets * log(softmax(logits))) over the last axis: [...,c], [...,c] -> [...]; the targets
// are class probabilities of the logits' type, and have a gradient too.
Value softmax_cross_entropy_dense(Located logits, Value targets);

// Builders from primitive ops, nodes under a scope of the same name. Prediction and target are
// floats of one type that broadcast together; the result is the mean over all elements, a scalar.

Value mean_squared_error(Located prediction, Value target);  // mean((p - t)^2)
Value l1_loss(Located prediction, Value target);             // mean(|p - t|)
Value l2_loss(Located prediction, Value target);             // mean((p - t)^2) / 2
// mean(t softplus(-x) + (1 - t) softplus(x)): -log of the probability that sigmoid(x) gives to t.
Value binary_cross_entropy_with_logits(Located logits, Value targets);

}  // namespace adjoint
