#include <cuda_runtime.h>

#include <stdexcept>

#include "third_party/cuda/smoke.h"

namespace adjoint {
namespace {

__global__ void double_elements(float* values, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) values[i] *= 2;
}

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

}  // namespace

std::vector<float> double_on_gpu(const std::vector<float>& values) {
  const size_t bytes = values.size() * sizeof(float);
  const int count = static_cast<int>(values.size());
  float* device = nullptr;
  check(cudaMalloc(&device, bytes));
  std::vector<float> result(values.size());
  check(cudaMemcpy(device, values.data(), bytes, cudaMemcpyHostToDevice));
  double_elements<<<(count + 255) / 256, 256>>>(device, count);
  check(cudaGetLastError());
  check(cudaMemcpy(result.data(), device, bytes, cudaMemcpyDeviceToHost));
  check(cudaFree(device));
  return result;
}

}  // namespace adjoint
