// Eigen's product of f64 matrices, a second provider: for comparison, and where a recorded choice
// names it.
#define EIGEN_DONT_PARALLELIZE  // our shards alone decide about parallelism
#include <Eigen/Core>

#include "runtime/cpu/kernels/families.h"
#include "runtime/cpu/kernels/products.h"

namespace adjoint::cpu {
namespace {

// Rows begin .. end - 1 of the result.
void multiply_rows(const GemmShape& s, int64_t begin, int64_t end, const double* a, const double* b,
                   double* c) {
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using View = Eigen::Map<const Matrix>;
  const View whole_a(a, s.transpose_a ? s.k : s.m, s.transpose_a ? s.m : s.k);
  const View whole_b(b, s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n);
  Eigen::Map<Matrix> rows(c + begin * s.n, end - begin, s.n);
  auto with_b = [&](const auto& rows_of_a) {
    if (s.transpose_b) {
      rows.noalias() = rows_of_a * whole_b.transpose();
    } else {
      rows.noalias() = rows_of_a * whole_b;
    }
  };
  if (s.transpose_a) {
    with_b(whole_a.middleCols(begin, end - begin).transpose());
  } else {
    with_b(whole_a.middleRows(begin, end - begin));
  }
}

bool is_f64(const KernelRequest& request) { return request.inputs[0].dtype == DType::f64; }

PreparedKernel prepare_matmul(const KernelRequest& request) {
  const Products products = products_of(request);
  const int64_t shards = shard_count(products.shape.m, 64, 16);
  return [shards, products](const KernelCall& call) {
    const GemmShape& s = products.shape;
    call.threads.parallel_for(shards * products.count(), [&](int64_t shard) {
      const int64_t i = shard / shards, part = shard % shards;
      multiply_rows(s, shard_begin(s.m, shards, part), shard_begin(s.m, shards, part + 1),
                    call.input<double>(0) + products.a[i], call.input<double>(1) + products.b[i],
                    call.output<double>(0) + i * s.m * s.n);
    });
  };
}

constexpr KernelDef kKernels[] = {
    {.name = "eigen.matmul",
     .op = "matmul",
     .supports = is_f64,
     .describe = describe_products,
     .prepare = prepare_matmul},
};

}  // namespace

std::span<const KernelDef> eigen_kernels() { return kKernels; }

}  // namespace adjoint::cpu
