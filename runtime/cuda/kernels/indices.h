// Index tensors of any integer type, in device code.
//
//   const Indices labels{call.inputs[1], DType::i64};
//   if (const int64_t label = labels[row]; label < 0 || label >= classes) report_failure(...);
#pragma once

#include <cstdint>

#include "graph/dtype.h"
#include "runtime/cuda/device/block.h"
#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

struct Indices {
  const void* data;
  DType type;

#if defined(__CUDACC__) || defined(ADJOINT_FAKE_CUDA)
  __device__ int64_t operator[](int64_t i) const {
    if (type == DType::i64) return static_cast<const int64_t*>(data)[i];
    if (type == DType::i32) return static_cast<const int32_t*>(data)[i];
    return static_cast<const uint8_t*>(data)[i];
  }
#endif
};

// What a fallible kernel needs to report a bad index.
struct Failure {
  Status* status;
  int launch;

  explicit Failure(const KernelCall& call) : status(call.status), launch(call.launch) {}
#if defined(__CUDACC__) || defined(ADJOINT_FAKE_CUDA)
  __device__ void report(int64_t value) const { report_failure(status, launch, value); }
#endif
};

}  // namespace adjoint::cuda
