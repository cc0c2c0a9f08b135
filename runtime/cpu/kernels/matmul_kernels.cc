// Kernels of matmul.
#include <algorithm>
#include <vector>

#include "ops/linalg.h"
#include "runtime/cpu/kernels/elements.h"
#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/gemm.h"
#include "runtime/cpu/kernels/widened.h"

namespace adjoint::cpu {
namespace {

// A matmul as plain products, one for each index of the leading dimensions.
struct Products {
  GemmShape shape;
  std::vector<int64_t> a;  // where each product's operands begin, in elements
  std::vector<int64_t> b;
};

// Where the matrix for each index of `batch` (row-major) begins in an operand that broadcasts to
// it.
std::vector<int64_t> matrix_offsets(const std::vector<int64_t>& batch,
                                    const std::vector<int64_t>& dims) {
  const size_t rank = dims.size();
  std::vector<int64_t> offsets = {0};
  int64_t stride = dims[rank - 1] * dims[rank - 2];
  for (size_t i = 0; i < batch.size(); ++i) {  // from the last leading dimension to the first
    const int64_t size = batch[batch.size() - 1 - i];
    const int64_t own = i + 2 < rank ? dims[rank - 3 - i] : 1;
    std::vector<int64_t> next;
    for (int64_t index = 0; index < size; ++index) {
      for (int64_t offset : offsets) next.push_back(offset + (own == 1 ? 0 : index * stride));
    }
    offsets = std::move(next);
    stride *= own;
  }
  return offsets;
}

Products products_of(const KernelRequest& request) {
  const auto& attributes = request.attributes<MatmulAttributes>();
  const std::vector<int64_t>& a = request.inputs[0].dims;
  const std::vector<int64_t>& b = request.inputs[1].dims;
  const std::vector<int64_t>& c = request.outputs[0].dims;
  Products products;
  products.shape = {.m = c[c.size() - 2],
                    .n = c.back(),
                    .k = attributes.transpose_a ? a[a.size() - 2] : a.back(),
                    .transpose_a = attributes.transpose_a,
                    .transpose_b = attributes.transpose_b};
  std::vector<int64_t> batch(c.begin(), c.end() - 2);
  if (!attributes.transpose_a && std::count(b.begin(), b.end() - 2, 1) == std::ssize(b) - 2) {
    // One b for all: the rows of every matrix of a are rows of one product.
    for (int64_t size : batch) products.shape.m *= size;
    batch.clear();
    products.a = products.b = {0};
    return products;
  }
  products.a = matrix_offsets(batch, a);
  products.b = matrix_offsets(batch, b);
  return products;
}

KernelFacts describe_matmul(const KernelRequest& request) {
  const Products products = products_of(request);
  const GemmShape& shape = products.shape;
  return {.flops = 2.0 * shape.m * shape.n * shape.k * products.a.size()};
}

template <typename T>
PreparedKernel prepare_products(Products products) {
  return [gemm = Gemm<T>(products.shape), products = std::move(products)](const KernelCall& call) {
    const int64_t matrix = products.shape.m * products.shape.n;
    const int64_t shards = gemm.shards();
    call.threads.parallel_for(shards * std::ssize(products.a), [&](int64_t shard) {
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

DType accumulation_type(const KernelRequest& request) {
  return std::max(widened_type(request), request.attributes<MatmulAttributes>().accumulate);
}
using Matmul = Widened<describe_matmul, prepare_matmul, accumulation_type>;

constexpr KernelDef kKernels[] = {
    {.name = "adjoint.matmul",
     .op = "matmul",
     .describe = Matmul::describe,
     .prepare = Matmul::prepare},
};

}  // namespace

std::span<const KernelDef> matmul_kernels() { return kKernels; }

}  // namespace adjoint::cpu
