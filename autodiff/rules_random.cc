// Random numbers depend on keys alone, which have no gradient.
#include "autodiff/standard_rules.h"
#include "ops/random.h"

namespace adjoint {

void add_random_rules(RuleSet& rules) {
  using C = const RuleContext&;
  // Linear in x: the same elements are kept.
  rules.add(kDropout, {[](C c) {
                         const auto& [rate, stream] = c.attributes<DropoutAttributes>();
                         return dropout(c.cotangent(), c.operand(1), rate, stream);
                       },
                       NoGradient::kRandomKey});
  for (const OpDef* op : {&kFoldIn, &kUniform, &kNormal, &kBernoulli}) {
    rules.add(*op, {NoGradient::kRandomKey});
  }
  rules.add(kPermuteIndex, {NoGradient::kRandomKey, NoGradient::kIndices});
}

}  // namespace adjoint
