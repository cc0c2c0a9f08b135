// A product's gradients are products again; transposition flags make copies unnecessary.
#include "autodiff/standard_rules.h"
#include "ops/linalg.h"

namespace adjoint {
namespace {

using C = const RuleContext&;

// With A = op(a) and B = op(b), C = A B: dA = dC B^T, and da is dA or its transpose, B dC^T.
Value a_rule(C c) {
  const auto& [ta, tb, accumulate] = c.attributes<MatmulAttributes>();
  const Value b = c.operand(1);
  return ta ? matmul(b, c.cotangent(), {tb, true, accumulate})
            : matmul(c.cotangent(), b, {false, !tb, accumulate});
}

// dB = A^T dC, and db is dB or its transpose, dC^T A.
Value b_rule(C c) {
  const auto& [ta, tb, accumulate] = c.attributes<MatmulAttributes>();
  const Value a = c.operand(0);
  return tb ? matmul(c.cotangent(), a, {true, ta, accumulate})
            : matmul(a, c.cotangent(), {!ta, false, accumulate});
}

}  // namespace

void add_linalg_rules(RuleSet& rules) { rules.add(kMatmul, {a_rule, b_rule}); }

}  // namespace adjoint
