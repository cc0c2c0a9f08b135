// One warp's product by device/mma.h, for mma_test.
#pragma once

#include "graph/float16.h"
#include "runtime/cuda/api/cuda.h"

namespace adjoint::cuda {

// sums[32,24] += a[32,k] times b[24,k] transposed, where k is 8 for float, 16 for Bf16.
void warp_product(const float* a, const float* b, float* sums, cudaStream_t stream);
void warp_product(const Bf16* a, const Bf16* b, float* sums, cudaStream_t stream);

}  // namespace adjoint::cuda
