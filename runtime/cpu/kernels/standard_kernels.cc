#include "runtime/cpu/kernels/families.h"

namespace adjoint::cpu {

KernelTable standard_kernels() {
  KernelTable table;
  // Of two that have a kernel for the same op, the preferred one first.
  for (auto* kernels :
       {batch_norm_kernels, conv_kernels, copy_kernels, fused_norm_kernels, indexing_kernels,
        layer_norm_kernels, matmul_kernels, pool_kernels, random_kernels, reduce_kernels,
        region_kernels, softmax_kernels, onednn_kernels, eigen_kernels}) {
    table.add(kernels());
  }
  return table;
}

}  // namespace adjoint::cpu
