#include "runtime/cuda/kernels/matmul_products.h"

#include "ops/linalg.h"

namespace adjoint::cuda {
namespace {

// Some leading dimensions of the result, and the way from one matrix to the next in the operands.
struct Leading {
  int64_t size;
  int64_t a_stride;
  int64_t b_stride;
};

// From one matrix to the next along the leading dimension `axis`, counted from the last one; 0
// where the operand broadcasts.
int64_t stride_along(const std::vector<int64_t>& dims, size_t axis) {
  const size_t rank = dims.size();
  if (axis + 2 >= rank || dims[rank - 3 - axis] == 1) return 0;
  int64_t stride = 1;
  for (size_t i = rank - 2 - axis; i < rank; ++i) stride *= dims[i];
  return stride;
}

// From the last dimension to the first. Those that can be counted through in one go are one.
std::vector<Leading> leading_dimensions(const std::vector<int64_t>& a,
                                        const std::vector<int64_t>& b,
                                        const std::vector<int64_t>& c) {
  std::vector<Leading> found;
  for (size_t axis = 0; axis + 2 < c.size(); ++axis) {
    const Leading next{c[c.size() - 3 - axis], stride_along(a, axis), stride_along(b, axis)};
    if (next.size == 1) continue;
    if (!found.empty() && next.a_stride == found.back().size * found.back().a_stride &&
        next.b_stride == found.back().size * found.back().b_stride) {
      found.back().size *= next.size;
    } else {
      found.push_back(next);
    }
  }
  return found;
}

}  // namespace

Products products_of(const KernelRequest& request) {
  const auto& attributes = request.attributes<MatmulAttributes>();
  const std::vector<int64_t>& a = request.inputs[0].dims;
  const std::vector<int64_t>& b = request.inputs[1].dims;
  const std::vector<int64_t>& c = request.outputs[0].dims;
  Products result;
  BatchedProduct& p = result.product;
  p = {.m = c[c.size() - 2],
       .n = c.back(),
       .k = attributes.transpose_a ? a[a.size() - 2] : a.back(),
       .transpose_a = attributes.transpose_a,
       .transpose_b = attributes.transpose_b};
  result.operands = {{}};
  std::vector<Leading> leading = leading_dimensions(a, b, c);
  auto take_first = [&] {
    const Leading first = leading.front();
    leading.erase(leading.begin());
    return first;
  };
  if (!leading.empty() && !p.transpose_a && leading[0].b_stride == 0 &&
      leading[0].a_stride == p.m * p.k) {
    p.m *= take_first().size;  // one b for all: the rows of every a are rows of one product
  }
  if (!leading.empty()) {
    const Leading first = take_first();
    p.batch = first.size;
    p.a_stride = first.a_stride;
    p.b_stride = first.b_stride;
  }
  for (const Leading& dimension : leading) {
    std::vector<Products::Operands> next;
    for (int64_t i = 0; i < dimension.size; ++i) {
      for (const Products::Operands& o : result.operands) {
        next.push_back({o.a + i * dimension.a_stride, o.b + i * dimension.b_stride});
      }
    }
    result.operands = std::move(next);
  }
  return result;
}

}  // namespace adjoint::cuda
