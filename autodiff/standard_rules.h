// The rules of the op families, one file each; standard_rules() is all of them.
#pragma once

#include "autodiff/rules.h"

namespace adjoint {

void add_elementwise_rules(RuleSet& rules);
void add_shape_rules(RuleSet& rules);
void add_reduce_rules(RuleSet& rules);

}  // namespace adjoint
