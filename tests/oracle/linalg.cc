#include "ops/linalg.h"

#include <cmath>

#include "tests/oracle/oracle.h"

namespace adjoint::oracle {
namespace {

Dims leading(const Tensor& x) { return {x.dims.begin(), x.dims.end() - 2}; }

// The element in row i and column j of the matrix at `batch`, broadcast.
Real element(const Tensor& x, const Index& batch, int64_t i, int64_t j, bool transposed) {
  const int64_t rows = x.dims[x.rank() - 2], columns = x.dims[x.rank() - 1];
  const int64_t matrix = broadcast_offset(leading(x), batch);
  const int64_t place = transposed ? j * columns + i : i * columns + j;
  return x.values[matrix * rows * columns + place];
}

Outputs matmul_value(const Call& call) {
  const Tensor &a = call.input(0), &b = call.input(1);
  const auto& attributes = call.attributes<MatmulAttributes>();
  const bool ta = attributes.transpose_a, tb = attributes.transpose_b;
  const int64_t m = a.dims[a.rank() - (ta ? 1 : 2)], k = a.dims[a.rank() - (ta ? 2 : 1)];
  const int64_t n = b.dims[b.rank() - (tb ? 2 : 1)];
  const Dims batches = broadcast(leading(a), leading(b));
  Dims dims = batches;
  dims.insert(dims.end(), {m, n});
  Tensor c = with_error(a.dtype, dims);
  int64_t place = 0;
  for_each_index(batches, [&](const Index& batch) {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j, ++place) {
        for (int64_t l = 0; l < k; ++l) {
          const Real product = element(a, batch, i, l, ta) * element(b, batch, l, j, tb);
          c.values[place] += product;
          c.error[place] += (k + 1) * std::fabs(product);
        }
      }
    }
  });
  return {c};
}

}  // namespace

void add_linalg(Functions& f) { f["matmul"] = matmul_value; }

}  // namespace adjoint::oracle
