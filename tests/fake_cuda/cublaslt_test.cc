// The fake cuBLASLt finds what is wrong with a call.
#include <cublasLt.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/fake_cuda/fake_cuda.h"
#include "tests/fake_cuda/library_support.h"

namespace fake_cuda {
namespace {

// d = a b for column-major a [4,40], b [40,6], d [4,6] of 32-bit floats, with bias; each test makes
// one thing wrong.
class CublasLtCalls : public testing::Test {
 protected:
  static constexpr size_t kBytes = 4096;

  CublasLtCalls() {
    reset();
    EXPECT_EQ(live_library_objects(), 0);
    cublasLtCreate(&handle_);
    cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
    for (char** memory : {&a_, &b_, &d_, &bias_, &workspace_}) {
      cudaMalloc(reinterpret_cast<void**>(memory), kBytes);
      cudaMemsetAsync(*memory, 0, kBytes, stream_);
    }
    cudaStreamSynchronize(stream_);
    cublasLtMatmulDescInit(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    const uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    cublasLtMatmulDescSetAttribute(&operation_, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, 4);
    set_bias(bias_);
    cublasLtMatrixLayoutInit(&a_layout_, CUDA_R_32F, 4, 40, 4);
    cublasLtMatrixLayoutInit(&b_layout_, CUDA_R_32F, 40, 6, 40);
    cublasLtMatrixLayoutInit(&d_layout_, CUDA_R_32F, 4, 6, 4);
    cublasLtMatmulPreferenceInit(&preference_);
    set_preference(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kBytes});
    set_preference(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{2});
  }
  ~CublasLtCalls() override {
    cudaStreamSynchronize(stream_);
    for (char* memory : {a_, b_, d_, bias_, workspace_}) cudaFree(memory);
    cudaStreamDestroy(stream_);
    if (handle_) cublasLtDestroy(handle_);
  }

  template <typename T>
  void set_preference(cublasLtMatmulPreferenceAttributes_t attribute, T value) {
    cublasLtMatmulPreferenceSetAttribute(&preference_, attribute, &value, sizeof(value));
  }
  void set_bias(const void* bias) {
    cublasLtMatmulDescSetAttribute(&operation_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, 8);
  }
  void set_batch(cublasLtMatrixLayout_t layout, int32_t count, int64_t stride) {
    cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, 4);
    cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride,
                                     8);
  }
  cublasStatus_t choose() {
    cublasLtMatmulHeuristicResult_t result;
    int count = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle_, &operation_, &a_layout_, &b_layout_, &d_layout_,
                                       &d_layout_, &preference_, 1, &result, &count);
    if (status == CUBLAS_STATUS_SUCCESS) {
      algorithm_ = result.algo;
      workspace_bytes_ = result.workspaceSize;
    }
    return status;
  }
  cublasStatus_t multiply(void* workspace, size_t bytes) {
    const cublasStatus_t status =
        cublasLtMatmul(handle_, &operation_, &one_, a_, &a_layout_, b_, &b_layout_, &beta_, d_,
                       &d_layout_, d_, &d_layout_, &algorithm_, workspace, bytes, stream_);
    cudaStreamSynchronize(stream_);
    return status;
  }
  cublasStatus_t multiply() { return multiply(workspace_, workspace_bytes_); }
  void expect_rejected(cublasStatus_t status, const std::string& words) {
    EXPECT_NE(status, CUBLAS_STATUS_SUCCESS);
    EXPECT_THAT(findings(), testing::ElementsAre(testing::HasSubstr(words)));
  }

  cublasLtHandle_t handle_ = nullptr;
  cudaStream_t stream_ = nullptr;
  char *a_ = nullptr, *b_ = nullptr, *d_ = nullptr, *bias_ = nullptr, *workspace_ = nullptr;
  cublasLtMatmulDescOpaque_t operation_;
  cublasLtMatrixLayoutOpaque_t a_layout_, b_layout_, d_layout_;
  cublasLtMatmulPreferenceOpaque_t preference_;
  cublasLtMatmulAlgo_t algorithm_ = {};
  size_t workspace_bytes_ = 0;
  float one_ = 1, beta_ = 0;
};

TEST_F(CublasLtCalls, CorrectOnesFindNothing) {
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_GT(workspace_bytes_, 0u);
  const float two = 2, three = 3;
  for (int i = 0; i < 160; ++i) std::memcpy(a_ + 4 * i, &two, 4);
  for (int i = 0; i < 240; ++i) std::memcpy(b_ + 4 * i, &three, 4);
  std::memcpy(bias_ + 4, &two, 4);
  ASSERT_EQ(multiply(), CUBLAS_STATUS_SUCCESS);
  EXPECT_THAT(findings(), testing::IsEmpty());
  EXPECT_EQ(launches()["cublasLtMatmul"], 1);
  EXPECT_EQ(load(Element::f32, d_, 0), 240);
  EXPECT_EQ(load(Element::f32, d_, 1), 242);  // a bias for each row
  float left;
  std::memcpy(&left, workspace_, 4);
  EXPECT_NE(left, left);  // the workspace is left as NaN
  beta_ = 1;
  ASSERT_EQ(multiply(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(load(Element::f32, d_, 0), 480);
}

TEST_F(CublasLtCalls, LeadingDimension) {
  cublasLtMatrixLayoutInit(&a_layout_, CUDA_R_32F, 4, 40, 3);
  expect_rejected(choose(), "leading dimension");
}
TEST_F(CublasLtCalls, InnerDimensions) {
  cublasLtMatrixLayoutInit(&b_layout_, CUDA_R_32F, 39, 6, 39);
  expect_rejected(choose(), "inner dimensions differ");
}
TEST_F(CublasLtCalls, DataTypes) {
  cublasLtMatrixLayoutInit(&b_layout_, CUDA_R_16F, 40, 6, 40);
  expect_rejected(choose(), "types of operands differ");
}
TEST_F(CublasLtCalls, ScaleType) {
  cublasLtMatmulDescInit(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_64F);
  expect_rejected(choose(), "scale type");
}
TEST_F(CublasLtCalls, ComputeType) {
  cublasLtMatmulDescInit(&operation_, CUBLAS_COMPUTE_64F, CUDA_R_32F);
  expect_rejected(choose(), "compute type");
}
TEST_F(CublasLtCalls, BatchCounts) {
  set_batch(&a_layout_, 2, 160);
  expect_rejected(choose(), "batch counts differ");
}
TEST_F(CublasLtCalls, BatchStride) {
  set_batch(&a_layout_, 2, 160);
  set_batch(&b_layout_, 2, 0);
  set_batch(&d_layout_, 2, 23);
  expect_rejected(choose(), "overlap in d");
}
TEST_F(CublasLtCalls, SumsInPlace) {
  set_preference(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{7});
  choose();
  EXPECT_THAT(findings(), testing::ElementsAre(testing::HasSubstr("sums in place")));
}
TEST_F(CublasLtCalls, DeadHandle) {
  cublasLtDestroy(handle_);
  expect_rejected(choose(), "handle is not alive");
  handle_ = nullptr;
}
TEST_F(CublasLtCalls, ForeignAlgorithm) {
  choose();
  cublasLtMatrixLayoutInit(&b_layout_, CUDA_R_32F, 40, 5, 40);
  cublasLtMatrixLayoutInit(&d_layout_, CUDA_R_32F, 4, 5, 4);
  expect_rejected(multiply(), "another product");
}
TEST_F(CublasLtCalls, MissingAlgorithm) { expect_rejected(multiply(), "algorithm was never made"); }
TEST_F(CublasLtCalls, MissingBias) {
  choose();
  set_bias(nullptr);
  expect_rejected(multiply(), "bias is null");
}
TEST_F(CublasLtCalls, SmallWorkspace) {
  choose();
  expect_rejected(multiply(workspace_, workspace_bytes_ - 1), "workspace is too small");
}
TEST_F(CublasLtCalls, WorkspaceBeyondItsMemory) {
  choose();
  expect_rejected(multiply(workspace_ + kBytes - 16, workspace_bytes_), "the workspace is not");
}
TEST_F(CublasLtCalls, WorkspaceOverAnOperand) {
  choose();
  expect_rejected(multiply(d_, workspace_bytes_), "workspace and an operand overlap");
}
TEST_F(CublasLtCalls, OperandOfTheHost) {
  choose();
  char* const own = b_;
  alignas(256) char host[kBytes] = {};
  b_ = host;
  expect_rejected(multiply(), "b is not 960 bytes of device memory");
  b_ = own;
}
TEST_F(CublasLtCalls, Alignment) {
  choose();  // with the default promise of 256 bytes
  char* const own = a_;
  a_ += 64;
  expect_rejected(multiply(), "a is not aligned to 256 bytes");
  a_ = own;
}
TEST_F(CublasLtCalls, DefaultStream) {
  choose();
  const cublasStatus_t status = cublasLtMatmul(handle_, &operation_, &one_, a_, &a_layout_, b_,
                                               &b_layout_, &beta_, d_, &d_layout_, d_, &d_layout_,
                                               &algorithm_, workspace_, workspace_bytes_, nullptr);
  expect_rejected(status, "default stream");
}
TEST_F(CublasLtCalls, AttributeSize) {
  const int64_t batch = 1;
  expect_rejected(cublasLtMatrixLayoutSetAttribute(&a_layout_, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                                                   &batch, sizeof(batch)),
                  "wrong size");
}

}  // namespace
}  // namespace fake_cuda
