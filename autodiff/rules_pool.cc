// Pooling is linear once the winners are known, and the winners do not change in a neighbourhood.
#include "autodiff/standard_rules.h"
#include "ops/pool.h"

namespace adjoint {
namespace {

using C = const RuleContext&;

const PoolAttributes& pool(C c) { return c.attributes<PoolAttributes>(); }

}  // namespace

void add_pool_rules(RuleSet& rules) {
  rules.add(kMaxPool, {[](C c) { return max_pool_grad(c.cotangent(), c.operand(0), pool(c)); }});
  rules.add(kMaxPoolGrad, {[](C c) { return max_pool_pick(c.cotangent(), c.operand(1), pool(c)); },
                           NoGradient::kPiecewiseConstant});
  rules.add(kMaxPoolPick, {[](C c) { return max_pool_grad(c.cotangent(), c.operand(1), pool(c)); },
                           NoGradient::kPiecewiseConstant});
  rules.add(kAvgPool, {[](C c) {
              const auto& attributes = c.attributes<AvgPoolAttributes>();
              return avg_pool_grad(c.cotangent(), c.operand(0).shape(), attributes,
                                   attributes.count_include_pad);
            }});
  rules.add(kAvgPoolGrad, {[](C c) {
              const auto& attributes = c.attributes<AvgPoolGradAttributes>();
              return avg_pool(c.cotangent(), attributes, attributes.count_include_pad);
            }});
}

}  // namespace adjoint
