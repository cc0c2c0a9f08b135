// Products of row-major matrices by cuBLASLt.
//
//   CublasLt cublaslt;
//   const MatmulPlan plan = cublaslt.plan({.dtype = DType::f32, .m = 128, .n = 10, .k = 784});
//   cublaslt.matmul(plan, {.a = x, .b = w, .d = y, .workspace = workspace}, stream);
//
// A plan holds the algorithm: a call only enqueues. Results are the same bits in every run.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "graph/dtype.h"
#include "runtime/cuda/api/precision.h"

namespace adjoint::cuda {

// What is done to a sum before it is stored.
enum class Epilogue {
  none,
  bias,  // a vector of n elements is added to every row
  relu,
  bias_relu,
};

// d[i,j] = epilogue(sum over l of a[i,l] * b[l,j]), [m,k] x [k,n] -> [m,n]; all sizes are positive.
struct MatmulShape {
  DType dtype = DType::f32;  // a float; of every operand
  Precision precision = Precision::f32;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  bool transpose_a = false;  // a is stored [k,m]
  bool transpose_b = false;  // b is stored [n,k]
  Epilogue epilogue = Epilogue::none;
  // Products of one call, and from one's operands to the next's, in elements; 0: the same operand.
  int64_t batch = 1;
  int64_t a_stride = 0;
  int64_t b_stride = 0;
  int64_t d_stride = 0;
  size_t alignment = 64;  // of all operands, in bytes
};

// A shape with an algorithm for it, as cuBLASLt describes it: plain data.
struct MatmulPlan {
  cublasLtMatmulDescOpaque_t operation;
  cublasLtMatrixLayoutOpaque_t first;  // cuBLASLt's own operands, see cublaslt.cc
  cublasLtMatrixLayoutOpaque_t second;
  cublasLtMatrixLayoutOpaque_t result;
  cublasLtMatmulAlgo_t algorithm;
  Precision precision;
  bool has_bias;
  size_t workspace_bytes;
};

struct MatmulBuffers {
  const void* a = nullptr;
  const void* b = nullptr;
  const void* bias = nullptr;
  void* d = nullptr;
  void* workspace = nullptr;  // plan.workspace_bytes, 256-byte aligned
};

// Every failure throws DeviceError. Calls of one object may run concurrently.
class CublasLt {
 public:
  static constexpr size_t kWorkspaceLimit = 32 << 20;

  CublasLt();
  CublasLt(CublasLt&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  CublasLt& operator=(CublasLt other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~CublasLt();

  static constexpr int kMostPlans = 8;

  // Plans with different algorithms, the best by cuBLASLt's heuristics first; none where no
  // algorithm fits the shape and the limit.
  std::vector<MatmulPlan> plans(const MatmulShape& shape,
                                size_t workspace_limit = kWorkspaceLimit) const;
  // The first of them. Throws DeviceError, too, where there is none.
  MatmulPlan plan(const MatmulShape& shape, size_t workspace_limit = kWorkspaceLimit) const;
  void matmul(const MatmulPlan& plan, const MatmulBuffers& buffers, cudaStream_t stream) const;

 private:
  cublasLtHandle_t handle_ = nullptr;
};

}  // namespace adjoint::cuda
