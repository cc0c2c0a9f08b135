#include "third_party/cuda/smoke.h"

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cudnn.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace adjoint {
namespace {

bool has_gpu() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

TEST(CudaSmoke, KernelRunsOrReportsThatThereIsNoGpu) {
  if (has_gpu()) {
    EXPECT_EQ(double_on_gpu({1, 2.5, -3}), (std::vector<float>{2, 5, -6}));
  } else {
    EXPECT_THROW(double_on_gpu({1}), std::runtime_error);
  }
}

TEST(CudaSmoke, CublasHandleOpensExactlyWhereThereIsAGpu) {
  cublasHandle_t handle = nullptr;
  const bool opened = cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS;
  EXPECT_EQ(opened, has_gpu());
  if (opened) cublasDestroy(handle);
}

TEST(CudaSmoke, CudnnHandleOpensExactlyWhereThereIsAGpu) {
  EXPECT_EQ(cudnnGetVersion() / 10000, static_cast<size_t>(CUDNN_MAJOR));
  cudnnHandle_t handle = nullptr;
  const bool opened = cudnnCreate(&handle) == CUDNN_STATUS_SUCCESS;
  EXPECT_EQ(opened, has_gpu());
  if (opened) cudnnDestroy(handle);
}

}  // namespace
}  // namespace adjoint
