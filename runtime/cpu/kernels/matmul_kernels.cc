// Kernels of matmul.
#include <utility>

#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/gemm.h"
#include "runtime/cpu/kernels/products.h"
#include "runtime/cpu/kernels/widened.h"

namespace adjoint::cpu {
namespace {

template <typename T>
PreparedKernel prepare_products(Products products) {
  return [gemm = Gemm<T>(products.shape), products = std::move(products)](const KernelCall& call) {
    const int64_t matrix = products.shape.m * products.shape.n;
    const int64_t shards = gemm.shards();
    call.threads.parallel_for(shards * products.count(), [&](int64_t shard) {
      const int64_t i = shard / shards;
      gemm.run(shard % shards, call.input<T>(0) + products.a[i], call.input<T>(1) + products.b[i],
               call.output<T>(0) + i * matrix);
    });
  };
}

PreparedKernel prepare_matmul(const KernelRequest& request) {
  return request.inputs[0].dtype == DType::f64 ? prepare_products<double>(products_of(request))
                                               : prepare_products<float>(products_of(request));
}

using Matmul = Widened<describe_products, prepare_matmul, product_type>;

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.matmul",
     .op = "matmul",
     .describe = Matmul::describe,
     .prepare = Matmul::prepare},
};

}  // namespace

std::span<const KernelDef> matmul_kernels() { return kKernels; }

}  // namespace adjoint::cpu
