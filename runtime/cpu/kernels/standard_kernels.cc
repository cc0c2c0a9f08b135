#include "runtime/cpu/kernels/families.h"

namespace adjoint::cpu {

KernelTable standard_kernels() {
  KernelTable table;
  for (auto* kernels :
       {copy_kernels, indexing_kernels, matmul_kernels, random_kernels, softmax_kernels})
    table.add(kernels());
  return table;
}

}  // namespace adjoint::cpu
