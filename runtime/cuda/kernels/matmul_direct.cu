#include "ops/linalg.h"
#include "runtime/cuda/kernels/direct_sum.h"
#include "runtime/cuda/kernels/matmul_direct.h"
#include "runtime/cuda/kernels/matmul_products.h"

namespace adjoint::cuda {
namespace {

template <typename T, typename Sum>
__global__ void matmul_direct(const T* a, const T* b, T* d, BatchedProduct p) {
  begin_kernel();
  const int64_t index = thread_number();
  if (index >= p.d_size()) return;
  const int64_t batch = index / (p.m * p.n), i = index / p.n % p.m, j = index % p.n;
  a += batch * p.a_stride + (p.transpose_a ? i : i * p.k);
  b += batch * p.b_stride + (p.transpose_b ? j * p.k : j);
  const int64_t a_step = p.transpose_a ? p.m : 1, b_step = p.transpose_b ? 1 : p.n;
  Sum sum = 0;
  for (int64_t l = 0; l < p.k; ++l) sum += product<Sum>(a[l * a_step], b[l * b_step]);
  d[index] = rounded<T>(sum);
}

}  // namespace

KernelFacts describe_direct_matmul(const KernelRequest& request, Context&) {
  return {.flops = products_of(request).flops()};
}

PreparedKernel prepare_direct_matmul(const KernelRequest& request, Context&) {
  const DType accumulate = request.attributes<MatmulAttributes>().accumulate;
  return visit_sum(
      request.outputs[0].dtype, accumulate, [&]<typename T, typename Sum>() -> PreparedKernel {
        return [products = products_of(request)](const KernelCall& call) {
          const BatchedProduct& p = products.product;
          if (p.d_size() == 0) return;
          T* d = call.output<T>(0);
          for (const Products::Operands& operands : products.operands) {
            launch("matmul_direct", matmul_direct<T, Sum>, one_thread_each(p.d_size()), call.stream,
                   call.input<T>(0) + operands.a, call.input<T>(1) + operands.b, d, p);
            d += p.d_size();
          }
        };
      });
}

}  // namespace adjoint::cuda
