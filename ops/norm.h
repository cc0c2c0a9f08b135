// Normalisation and softmax.
//
//   Normalized n = batch_norm(x, scale, offset);         // of a batch, per channel
//   Value h = relu(n.y);                                 // n.mean, n.variance: [channels]
//   Value p = softmax(logits);
//
// All operands are floats of one type; errors are GraphErrors naming op, types and line. These ops
// are composite: each has a decomposition into primitive ops, which also gives second derivatives.
#pragma once

#include <span>

#include "graph/block.h"

namespace adjoint {

extern const OpDef kBatchNorm, kBatchNormGrad, kBatchNormInference, kLayerNorm, kLayerNormGrad,
    kSoftmax, kLogSoftmax;

std::span<const OpDef* const> norm_ops();

struct BatchNormAttributes {  // batch_norm, batch_norm_grad, batch_norm_inference
  double epsilon = 1e-3;
  static constexpr auto fields() {
    return std::tuple{Field{"epsilon", &BatchNormAttributes::epsilon}};
  }
};
struct LayerNormAttributes {  // layer_norm, layer_norm_grad
  double epsilon = 1e-5;
  static constexpr auto fields() {
    return std::tuple{Field{"epsilon", &LayerNormAttributes::epsilon}};
  }
};

// The outputs of batch_norm and layer_norm.
struct Normalized {
  Value y;
  Value mean;
  Value variance;  // of the population: divided by n, not n - 1
};
// The outputs of their gradients.
struct NormGradients {
  Value x;
  Value scale;
  Value offset;
};

// y = (x - mean) / sqrt(variance + epsilon) * scale + offset with x [...,c] of rank 2 at least,
// scale and offset [c]; mean and variance [c] are those of x over all axes but the last.
Normalized batch_norm(Located x, Value scale, Value offset, double epsilon = 1e-3);
// The gradients of batch_norm's y for x, scale and offset, given dy. With r = 1 / sqrt(variance +
// epsilon), z = (x - mean) r and means over all axes but the last: doffset = sum(dy),
// dscale = sum(dy z), dx = scale r (dy - mean(dy) - z mean(dy z)).
NormGradients batch_norm_grad(Located dy, Value x, Value scale, Value mean, Value variance,
                              double epsilon = 1e-3);
// batch_norm's y with a given mean and variance [c] (the running averages).
Value batch_norm_inference(Located x, Value scale, Value offset, Value mean, Value variance,
                           double epsilon = 1e-3);

// y = (x - mean) / sqrt(variance + epsilon) * scale + offset with x [...,c], scale and offset [c];
// mean and variance [...] are those of x over the last axis.
Normalized layer_norm(Located x, Value scale, Value offset, double epsilon = 1e-5);
// The gradients of layer_norm's y for x, scale and offset, given dy. With r and z as above, means
// over the last axis and h = dy scale: doffset = sum(dy), dscale = sum(dy z) over all other axes,
// dx = r (h - mean(h) - z mean(h z)).
NormGradients layer_norm_grad(Located dy, Value x, Value scale, Value mean, Value variance,
                              double epsilon = 1e-5);

// e^x / sum(e^x) along one axis (negative: from the back), the maximum taken out first.
Value softmax(Located x, int64_t axis = -1);
// x - log(sum(e^x)) along one axis.
Value log_softmax(Located x, int64_t axis = -1);

}  // namespace adjoint
