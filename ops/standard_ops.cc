#include "ops/standard_ops.h"

#include "graph/block.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/region.h"
#include "ops/shape.h"

namespace adjoint {

OpSet standard_ops() {
  OpSet ops({&kConstant});
  ops.add(elementwise_ops());
  ops.add(shape_ops());
  ops.add(reduce_ops());
  ops.add(region_ops());
  return ops;
}

}  // namespace adjoint
