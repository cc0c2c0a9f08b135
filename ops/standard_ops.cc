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
  ops.add(elementwise_ops());
  ops.add(shape_ops());
  ops.add(reduce_ops());
  ops.add(linalg_ops());
  ops.add(conv_ops());
  ops.add(pool_ops());
  ops.add(norm_ops());
  ops.add(loss_ops());
  ops.add(random_ops());
  ops.add(region_ops());
  return ops;
}

}  // namespace adjoint
