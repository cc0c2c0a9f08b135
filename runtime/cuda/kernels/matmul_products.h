// A matmul node as products of matrices, as few batched ones as its broadcasting allows.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/host_device.h"
#include "runtime/kernel.h"

namespace adjoint::cuda {

// d[i,j] = sum over l of a[i,l] * b[l,j] for row-major matrices, `batch` times; strides lead from
// one product's operand to the next's, in elements.
struct BatchedProduct {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  bool transpose_a = false;  // a is stored [k,m]
  bool transpose_b = false;  // b is stored [n,k]
  int64_t batch = 1;
  int64_t a_stride = 0;
  int64_t b_stride = 0;

  ADJOINT_HOST_DEVICE int64_t d_size() const { return batch * m * n; }
};

struct Products {
  BatchedProduct product;
  // Where each one's operands begin, in elements; the results follow one another.
  struct Operands {
    int64_t a = 0;
    int64_t b = 0;
  };
  std::vector<Operands> operands;

  double flops() const { return 2.0 * product.d_size() * product.k * operands.size(); }
};

Products products_of(const KernelRequest& request);

}  // namespace adjoint::cuda
