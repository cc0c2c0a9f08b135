// Normalisation: fused gradients for y, and plain formulae for the statistics, which are outputs
// too. What has no rule here is differentiated through its decomposition.
#include "autodiff/standard_rules.h"
#include "ops/elementwise.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace adjoint {
namespace {

using C = const RuleContext&;

// Over the last axis, or over all others.
bool over_rows(C c) { return c.output().node().op == &kLayerNorm; }

// The gradient op of y: outputs for x, scale and offset.
Value fused(C c) {
  const Value dy = c.cotangent(), x = c.operand(0), scale = c.operand(1);
  const Value mean = c.output(1), variance = c.output(2);
  if (over_rows(c)) {
    return layer_norm_grad(dy, x, scale, mean, variance,
                           c.attributes<LayerNormAttributes>().epsilon)
        .x;
  }
  return batch_norm_grad(dy, x, scale, mean, variance, c.attributes<BatchNormAttributes>().epsilon)
      .x;
}

// d mean / d x_i = 1 / n and d variance / d x_i = 2 (x_i - mean) / n.
Value statistics_rule(C c) {
  const Value x = c.operand(0);
  std::vector<int> axes;
  for (int axis = 0; axis < x.rank(); ++axis) {
    if ((axis + 1 == x.rank()) == over_rows(c)) axes.push_back(axis);
  }
  // A statistic in a shape that broadcasts against x.
  auto spread = [&](Value statistic) {
    return over_rows(c) ? expand_dims(statistic, {-1}) : statistic;
  };
  Value total;
  if (c.has_cotangent(1)) total = spread(c.cotangent(1));
  if (c.has_cotangent(2)) {
    const Value centered = x - spread(c.output(1));
    const Value term = 2.0 * spread(c.cotangent(2)) * centered;
    total = total ? total + term : term;
  }
  return broadcast_to(over_count(total, x, axes), x.shape());
}

Value x_rule(C c) {
  const bool statistics = c.has_cotangent(1) || c.has_cotangent(2);
  if (!c.has_cotangent(0)) return statistics_rule(c);
  const Value dx = c.once(fused);
  return statistics ? dx + statistics_rule(c) : dx;
}

// For scale (1) and offset (2), which the statistics do not depend on.
Value parameter_rule(C c) {
  if (!c.has_cotangent(0)) return zeros_like(c.operand(c.index()));
  return c.once(fused).output(static_cast<int>(c.index()));
}

std::vector<int64_t> softmax_axis(C c) { return {c.attributes<AxisAttributes>().axis}; }

Value softmax_rule(C c) {
  const Value y = c.output(), dy = c.cotangent();
  return y * (dy - sum(dy * y, softmax_axis(c), /*keep=*/true));
}

Value log_softmax_rule(C c) {
  const Value dy = c.cotangent();
  return dy - exp(c.output()) * sum(dy, softmax_axis(c), /*keep=*/true);
}

}  // namespace

void add_norm_rules(RuleSet& rules) {
  rules.add(kBatchNorm, {x_rule, parameter_rule});
  rules.add(kLayerNorm, {x_rule, parameter_rule});
  rules.add(kSoftmax, {softmax_rule});
  rules.add(kLogSoftmax, {log_softmax_rule});
}

}  // namespace adjoint
