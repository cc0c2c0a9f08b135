#include "runtime/cuda/api/launch.h"
#include "runtime/cuda/device/mma.h"
#include "runtime/cuda/device/warp_product.h"

namespace adjoint::cuda {
namespace {

template <typename T>
__global__ void product(const T* a, const T* b, float* sums) {
  constexpr int kWord = 4 / sizeof(T), kDepth = 8 * kWord;
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  auto word = [&](const T* matrix, int row, int number) {
    return mma_word(load_pack<kWord>(matrix + (row * kDepth + number * kWord)));
  };
  const uint32_t rows[4] = {word(a, g, t), word(a, g + 8, t), word(a, g, t + 4),
                            word(a, g + 8, t + 4)};
  const uint32_t columns[2] = {word(b, g, t), word(b, g, t + 4)};
  float own[4];
  for (int i = 0; i < 4; ++i) own[i] = sums[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  mma<T>(own, rows, columns);
  for (int i = 0; i < 4; ++i) sums[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = own[i];
}

}  // namespace

void warp_product(const float* a, const float* b, float* sums, cudaStream_t stream) {
  launch("warp_product", product<float>, {.block = dim3(32)}, stream, a, b, sums);
}
void warp_product(const Bf16* a, const Bf16* b, float* sums, cudaStream_t stream) {
  launch("warp_product", product<Bf16>, {.block = dim3(32)}, stream, a, b, sums);
}

}  // namespace adjoint::cuda
