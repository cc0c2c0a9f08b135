// The other losses are built from primitive ops, or are differentiated through their decomposition.
#include "autodiff/standard_rules.h"
#include "ops/loss.h"

namespace adjoint {

void add_loss_rules(RuleSet& rules) {
  using C = const RuleContext&;
  rules.add(
      kSoftmaxCrossEntropy,
      {[](C c) { return softmax_cross_entropy_grad(c.cotangent(), c.operand(0), c.operand(1)); },
       NoGradient::kIndices});
}

}  // namespace adjoint
