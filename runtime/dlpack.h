// Tensors to and from other libraries, by DLPack's C structures (https://dmlc.github.io/dlpack).
//
//   DLManagedTensor* out = to_dlpack(tensor);      // the receiver calls out->deleter(out)
//   Tensor in = from_dlpack(managed);              // calls managed->deleter when no handle is left
//
// No element is copied. The structures have DLPack's layout (version 0.8, unversioned), declared
// here under a namespace of their own; a pointer may be cast to the same structure of dlpack.h.
#pragma once

#include <cstdint>

#include "runtime/tensor.h"

namespace adjoint {
namespace dlpack {

struct DLDevice {
  int32_t device_type;  // kDLCPU = 1, kDLCUDA = 2
  int32_t device_id;
};

struct DLDataType {
  uint8_t code;  // kDLInt = 0, kDLUInt = 1, kDLFloat = 2, kDLBfloat = 4, kDLBool = 6
  uint8_t bits;
  uint16_t lanes;
};

struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null: row-major without gaps
  uint64_t byte_offset;
};

struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor* self);
};

}  // namespace dlpack

// Keeps the tensor's memory alive until its deleter is called.
dlpack::DLManagedTensor* to_dlpack(const Tensor& tensor);

// Takes `managed` over; throws GraphError, leaving it to the caller, for element types, devices or
// ranks that tensors don't have.
Tensor from_dlpack(dlpack::DLManagedTensor* managed);

}  // namespace adjoint
