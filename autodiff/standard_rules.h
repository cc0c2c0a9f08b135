// The rules of the op families, one file each; standard_rules() is all of them.
#pragma once

#include <vector>

#include "autodiff/rules.h"

namespace adjoint {

void add_elementwise_rules(RuleSet& rules);
void add_shape_rules(RuleSet& rules);
void add_reduce_rules(RuleSet& rules);
void add_linalg_rules(RuleSet& rules);
void add_conv_rules(RuleSet& rules);
void add_pool_rules(RuleSet& rules);
void add_norm_rules(RuleSet& rules);
void add_loss_rules(RuleSet& rules);
void add_random_rules(RuleSet& rules);

// v / n, n the number of elements of x along these axes; in f32 for the sixteen-bit floats, whose
// range n may exceed.
Value over_count(Value v, Value x, const std::vector<int>& axes);

}  // namespace adjoint
