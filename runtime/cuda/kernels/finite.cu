#include <algorithm>

#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/element.h"
#include "runtime/cuda/kernels/finite.h"
#include "runtime/scalar/arithmetic.h"

namespace adjoint::cuda {
namespace {

constexpr int kThreads = 256;

template <typename T>
__global__ void find_not_finite(const T* x, int64_t count, Status* status, int launch) {
  begin_kernel();
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += step) {
    if (!scalar::is_finite(widen(x[i]))) report_failure(status, launch, kNotFinite);
  }
}

template <typename T>
void enqueue(const KernelCall& call, size_t output, int64_t count) {
  const auto blocks =
      static_cast<unsigned>(std::min<int64_t>((count + kThreads - 1) / kThreads, 1024));
  launch("find_not_finite", find_not_finite<T>, {.grid = dim3(blocks), .block = dim3(kThreads)},
         call.stream, static_cast<const T*>(call.outputs[output]), count, call.status, call.launch);
}

}  // namespace

void require_finite(const KernelCall& call, size_t output, const TensorType& type) {
  const int64_t count = type.element_count();
  if (count == 0) return;
  if (type.dtype == DType::f32) enqueue<float>(call, output, count);
  if (type.dtype == DType::f64) enqueue<double>(call, output, count);
  if (type.dtype == DType::bf16) enqueue<Bf16>(call, output, count);
  if (type.dtype == DType::f16) enqueue<F16>(call, output, count);
}

}  // namespace adjoint::cuda
