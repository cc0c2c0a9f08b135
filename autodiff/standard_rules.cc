#include "autodiff/standard_rules.h"

namespace adjoint {

RuleSet standard_rules() {
  RuleSet rules;
  add_elementwise_rules(rules);
  add_shape_rules(rules);
  add_reduce_rules(rules);
  return rules;
}

}  // namespace adjoint
