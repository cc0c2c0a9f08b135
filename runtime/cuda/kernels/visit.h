// From an element type as a value to one as a template argument.
//
//   return visit_float(dtype, [&]<typename T>() -> PreparedKernel { return prepare<T>(request); });
//   return visit_pack<T>(channels, [&]<int kVec>() { ... });
#pragma once

#include <stdexcept>

#include "graph/dtype.h"
#include "graph/float16.h"
#include "runtime/cuda/device/pack.h"

namespace adjoint::cuda {

template <typename Body>
auto visit_float(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body.template operator()<float>();
    case DType::f64:
      return body.template operator()<double>();
    case DType::bf16:
      return body.template operator()<Bf16>();
    case DType::f16:
      return body.template operator()<F16>();
    default:
      throw std::logic_error("a kernel of floats got another type");
  }
}

// Those that need no wider type to compute in.
template <typename Body>
auto visit_wide_float(DType dtype, Body&& body) {
  return dtype == DType::f64 ? body.template operator()<double>()
                             : body.template operator()<float>();
}

// The pack of 16 bytes where the fastest axis is a multiple of it, or single elements.
template <typename T, typename Body>
auto visit_pack(int64_t channels, Body&& body) {
  return channels % kFullPack<T> == 0 ? body.template operator()<kFullPack<T>>()
                                      : body.template operator()<1>();
}

}  // namespace adjoint::cuda
