// A matmul node as plain products of matrices.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/cpu/kernels/gemm.h"
#include "runtime/kernel.h"

namespace adjoint::cpu {

// One product for each index of the leading dimensions.
struct Products {
  GemmShape shape;
  std::vector<int64_t> a;  // where each product's operands begin, in elements
  std::vector<int64_t> b;

  int64_t count() const { return static_cast<int64_t>(a.size()); }
  double flops() const { return 2.0 * shape.m * shape.n * shape.k * count(); }
};

Products products_of(const KernelRequest& request);
KernelFacts describe_products(const KernelRequest& request);
// What the products are added up in: f32 or f64.
DType product_type(const KernelRequest& request);

}  // namespace adjoint::cpu
