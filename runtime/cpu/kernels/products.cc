#include "runtime/cpu/kernels/products.h"

#include <algorithm>

#include "ops/linalg.h"
#include "runtime/cpu/kernels/widened.h"

namespace adjoint::cpu {
namespace {

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

}  // namespace

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

KernelFacts describe_products(const KernelRequest& request) {
  return {.flops = products_of(request).flops()};
}

DType product_type(const KernelRequest& request) {
  return std::max(widened_type(request), request.attributes<MatmulAttributes>().accumulate);
}

}  // namespace adjoint::cpu
