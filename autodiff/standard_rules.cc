#include "autodiff/standard_rules.h"

namespace adjoint {

RuleSet standard_rules() {
  RuleSet rules;
  add_elementwise_rules(rules);
  add_shape_rules(rules);
  add_reduce_rules(rules);
  add_linalg_rules(rules);
  add_conv_rules(rules);
  add_pool_rules(rules);
  add_norm_rules(rules);
  add_loss_rules(rules);
  add_random_rules(rules);
  return rules;
}

}  // namespace adjoint
