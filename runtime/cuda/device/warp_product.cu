#include "runtime/cuda/api/launch.h"
#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/mma.h"
#include "runtime/cuda/device/warp_product.h"

namespace adjoint::cuda {
namespace {

template <typename T>
__global__ void product(const T* a, const T* b, float* sums) {
  begin_kernel();
  constexpr int kWord = 4 / sizeof(T), kDepth = 8 * kWord;
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  auto word = [&](const T* matrix, int row, int number) {
    return mma_word(load_pack<kWord>(matrix + (row * kDepth + number * kWord)));
  };
  uint32_t rows[2][4], columns[3][2];
  for (int i = 0; i < 2; ++i) {
    for (int w = 0; w < 4; ++w) rows[i][w] = word(a, 16 * i + g + w % 2 * 8, t + w / 2 * 4);
  }
  for (int j = 0; j < 3; ++j) {
    for (int half = 0; half < 2; ++half) columns[j][half] = word(b, 8 * j + g, t + 4 * half);
  }
  float own[2][3][4];
  auto for_own = [&](auto visit) {
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 3; ++j) {
        for (int k = 0; k < 4; ++k) {
          visit(own[i][j][k], sums[(16 * i + g + k / 2 * 8) * 24 + 8 * j + 2 * t + k % 2]);
        }
      }
    }
  };
  for_own([](float& mine, float sum) { mine = sum; });
  mma<T>(own, rows, columns);
  for_own([](float mine, float& sum) { sum = mine; });
}

}  // namespace

void warp_product(const float* a, const float* b, float* sums, cudaStream_t stream) {
  launch("warp_product", product<float>, {.block = dim3(32)}, stream, a, b, sums);
}
void warp_product(const Bf16* a, const Bf16* b, float* sums, cudaStream_t stream) {
  launch("warp_product", product<Bf16>, {.block = dim3(32)}, stream, a, b, sums);
}

}  // namespace adjoint::cuda
