#include "ops/standard_ops.h"

#include "graph/block.h"
#include "ops/conv.h"
#include "ops/elementwise.h"
#include "ops/linalg.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/region.h"
#include "ops/shape.h"

namespace adjoint {

OpSet standard_ops() {
  OpSet ops({&kConstant});
  for (const auto& family : {elementwise_ops(), shape_ops(), reduce_ops(), linalg_ops(), conv_ops(),
                             pool_ops(), norm_ops(), loss_ops(), random_ops(), region_ops()}) {
    ops.add(family);
  }
  return ops;
}

}  // namespace adjoint
