// The fake cuDNN finds what is wrong with a call.
#include <cudnn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/fake_cuda/fake_cuda.h"
#include "tests/fake_cuda/library_support.h"

namespace fake_cuda {
namespace {

// A convolution of x [2,5,6,4] with a filter [8,2,2,2] in two groups, which gives y [2,4,5,8], of
// 32-bit floats; each test makes one thing wrong.
class CudnnCalls : public testing::Test {
 protected:
  static constexpr size_t kBytes = 4096;

  CudnnCalls() {
    reset();
    EXPECT_EQ(live_library_objects(), 0);
    cudnnCreate(&handle_);
    cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
    for (char** memory : {&x_, &filter_, &y_, &workspace_}) {
      cudaMalloc(reinterpret_cast<void**>(memory), kBytes);
      cudaMemsetAsync(*memory, 0, kBytes, stream_);
    }
    cudaStreamSynchronize(stream_);
    cudnnSetStream(handle_, stream_);
    cudnnCreateTensorDescriptor(&x_tensor_);
    cudnnCreateTensorDescriptor(&y_tensor_);
    cudnnCreateFilterDescriptor(&filter_tensor_);
    cudnnCreateConvolutionDescriptor(&convolution_);
    cudnnSetTensor4dDescriptor(x_tensor_, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 2, 4, 5, 6);
    cudnnSetTensor4dDescriptor(y_tensor_, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 2, 8, 4, 5);
    cudnnSetFilter4dDescriptor(filter_tensor_, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NHWC, 8, 2, 2, 2);
    set_convolution(CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT);
    cudnnSetConvolutionGroupCount(convolution_, 2);
  }
  ~CudnnCalls() override {
    cudaStreamSynchronize(stream_);
    for (char* memory : {x_, filter_, y_, workspace_}) cudaFree(memory);
    if (x_tensor_) cudnnDestroyTensorDescriptor(x_tensor_);
    cudnnDestroyTensorDescriptor(y_tensor_);
    cudnnDestroyFilterDescriptor(filter_tensor_);
    cudnnDestroyConvolutionDescriptor(convolution_);
    if (handle_) cudnnDestroy(handle_);
    cudaStreamDestroy(stream_);
  }

  void set_convolution(cudnnConvolutionMode_t mode, cudnnDataType_t compute) {
    cudnnSetConvolution2dDescriptor(convolution_, 0, 0, 1, 1, 1, 1, mode, compute);
    cudnnSetConvolutionMathType(convolution_, CUDNN_FMA_MATH);
  }
  cudnnStatus_t query(
      cudnnConvolutionFwdAlgo_t algorithm = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) {
    return cudnnGetConvolutionForwardWorkspaceSize(handle_, x_tensor_, filter_tensor_, convolution_,
                                                   y_tensor_, algorithm, &bytes_);
  }
  cudnnStatus_t convolve(void* workspace, size_t bytes) {
    const cudnnStatus_t status = cudnnConvolutionForward(
        handle_, &one_, x_tensor_, x_, filter_tensor_, filter_, convolution_,
        CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, workspace, bytes, &beta_, y_tensor_, y_);
    cudaStreamSynchronize(stream_);
    return status;
  }
  cudnnStatus_t convolve() { return convolve(workspace_, bytes_); }
  void expect_rejected(cudnnStatus_t status, const std::string& words) {
    EXPECT_NE(status, CUDNN_STATUS_SUCCESS);
    EXPECT_THAT(findings(), testing::ElementsAre(testing::HasSubstr(words)));
  }

  cudnnHandle_t handle_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudnnTensorDescriptor_t x_tensor_ = nullptr, y_tensor_ = nullptr;
  cudnnFilterDescriptor_t filter_tensor_ = nullptr;
  cudnnConvolutionDescriptor_t convolution_ = nullptr;
  char *x_ = nullptr, *filter_ = nullptr, *y_ = nullptr, *workspace_ = nullptr;
  size_t bytes_ = 0;
  float one_ = 1, beta_ = 0;
};

TEST_F(CudnnCalls, CorrectOnesFindNothing) {
  ASSERT_EQ(query(), CUDNN_STATUS_SUCCESS);
  EXPECT_GT(bytes_, 0u);
  const float two = 2, three = 3;
  for (int i = 0; i < 240; ++i) std::memcpy(x_ + 4 * i, &two, 4);
  for (int i = 0; i < 64; ++i) std::memcpy(filter_ + 4 * i, &three, 4);
  ASSERT_EQ(convolve(), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(launches()["cudnnConvolutionForward#1"], 1);
  EXPECT_EQ(load(Element::f32, y_, 319), 2 * 3 * 8);
  float left;
  std::memcpy(&left, workspace_, 4);
  EXPECT_NE(left, left);  // the workspace is left as NaN
  beta_ = 1;
  ASSERT_EQ(convolve(), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(load(Element::f32, y_, 0), 2 * 48);
  EXPECT_THAT(findings(), testing::IsEmpty());
}

TEST_F(CudnnCalls, OutputSize) {
  cudnnSetTensor4dDescriptor(y_tensor_, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 2, 8, 4, 4);
  expect_rejected(query(), "y has not the convolution's size");
}
TEST_F(CudnnCalls, Channels) {
  cudnnSetConvolutionGroupCount(convolution_, 4);
  expect_rejected(query(), "x's channels");
}
TEST_F(CudnnCalls, Batches) {
  cudnnSetTensor4dDescriptor(y_tensor_, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1, 8, 4, 5);
  expect_rejected(query(), "batches differ");
}
TEST_F(CudnnCalls, EmptyBatch) {
  expect_rejected(
      cudnnSetTensor4dDescriptor(x_tensor_, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 0, 4, 5, 6),
      "not positive");
}
TEST_F(CudnnCalls, DataTypes) {
  cudnnSetFilter4dDescriptor(filter_tensor_, CUDNN_DATA_HALF, CUDNN_TENSOR_NHWC, 8, 2, 2, 2);
  expect_rejected(query(), "types of tensors differ");
}
TEST_F(CudnnCalls, ComputeType) {
  set_convolution(CUDNN_CROSS_CORRELATION, CUDNN_DATA_HALF);
  cudnnSetConvolutionGroupCount(convolution_, 2);
  expect_rejected(query(), "compute type");
}
TEST_F(CudnnCalls, MirroredFilter) {
  set_convolution(CUDNN_CONVOLUTION, CUDNN_DATA_FLOAT);
  cudnnSetConvolutionGroupCount(convolution_, 2);
  expect_rejected(query(), "mirrored");
}
TEST_F(CudnnCalls, Order) {
  cudnnSetTensor4dDescriptor(x_tensor_, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 2, 4, 5, 6);
  expect_rejected(query(), "channels-last");
}
TEST_F(CudnnCalls, DeadDescriptor) {
  cudnnDestroyTensorDescriptor(x_tensor_);
  expect_rejected(query(), "x's descriptor is not alive");
  x_tensor_ = nullptr;
}
TEST_F(CudnnCalls, UndescribedTensor) {
  cudnnDestroyTensorDescriptor(x_tensor_);
  cudnnCreateTensorDescriptor(&x_tensor_);
  expect_rejected(query(), "x was never described");
}
TEST_F(CudnnCalls, DeadHandle) {
  cudnnDestroy(handle_);
  expect_rejected(query(), "handle is not alive");
  handle_ = nullptr;
}
TEST_F(CudnnCalls, SecondDestruction) {
  cudnnDestroy(handle_);
  expect_rejected(cudnnDestroy(handle_), "not alive");
  handle_ = nullptr;
}
TEST_F(CudnnCalls, NoStream) {
  query();
  cudnnSetStream(handle_, nullptr);
  expect_rejected(convolve(), "no stream was set");
}
TEST_F(CudnnCalls, UnsupportedAlgorithm) {
  // What a query may well ask, a convolution may not.
  EXPECT_EQ(query(CUDNN_CONVOLUTION_FWD_ALGO_FFT), CUDNN_STATUS_NOT_SUPPORTED);
  EXPECT_THAT(findings(), testing::IsEmpty());
  const cudnnStatus_t status =
      cudnnConvolutionForward(handle_, &one_, x_tensor_, x_, filter_tensor_, filter_, convolution_,
                              CUDNN_CONVOLUTION_FWD_ALGO_FFT, nullptr, 0, &beta_, y_tensor_, y_);
  expect_rejected(status, "does not support the convolution");
}
TEST_F(CudnnCalls, SmallWorkspace) {
  query();
  expect_rejected(convolve(workspace_, bytes_ - 1), "workspace is too small");
}
TEST_F(CudnnCalls, WorkspaceBeyondItsMemory) {
  query();
  expect_rejected(convolve(workspace_ + kBytes - 16, bytes_), "the workspace is not");
}
TEST_F(CudnnCalls, WorkspaceOverAnOperand) {
  query();
  expect_rejected(convolve(filter_, bytes_), "the filter and the workspace overlap");
}
TEST_F(CudnnCalls, Alignment) {
  query();
  x_ += 4;
  expect_rejected(convolve(), "x is not aligned to 16 bytes");
  x_ -= 4;
}
TEST_F(CudnnCalls, ScaleOfTheDevice) {
  query();
  const cudnnStatus_t status = cudnnConvolutionForward(
      handle_, y_, x_tensor_, x_, filter_tensor_, filter_, convolution_,
      CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, nullptr, 0, &beta_, y_tensor_, y_);
  expect_rejected(status, "expected on the host");
}

}  // namespace
}  // namespace fake_cuda
