// Choosing code by element type, and 16-bit floats as floats.
//
//   visit_float(dtype, [&]<typename T>() { run<T>(call); });
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "graph/dtype.h"
#include "graph/error.h"
#include "graph/float16.h"

namespace adjoint::cpu {

// Calls visit.operator()<T>() for the C++ type that stores `dtype`.
template <typename Visit>
auto visit_float(DType dtype, Visit&& visit) {
  switch (dtype) {
    case DType::f32:
      return visit.template operator()<float>();
    case DType::f64:
      return visit.template operator()<double>();
    case DType::bf16:
      return visit.template operator()<Bf16>();
    case DType::f16:
      return visit.template operator()<F16>();
    default:
      throw PlanError("no kernel for element type " + std::string(name(dtype)));
  }
}

template <typename Visit>
auto visit_integer(DType dtype, Visit&& visit) {
  switch (dtype) {
    case DType::i32:
      return visit.template operator()<int32_t>();
    case DType::i64:
      return visit.template operator()<int64_t>();
    case DType::u8:
      return visit.template operator()<uint8_t>();
    default:
      throw PlanError("no kernel for element type " + std::string(name(dtype)));
  }
}

template <typename Visit>
auto visit_numeric(DType dtype, Visit&& visit) {
  return is_float(dtype) ? visit_float(dtype, visit) : visit_integer(dtype, visit);
}

// The type that is computed in: float for the 16-bit types, else T itself.
template <typename T>
using Compute = std::conditional_t<std::is_same_v<T, Bf16> || std::is_same_v<T, F16>, float, T>;

template <typename T>
Compute<T> widen(T value) {
  if constexpr (std::is_same_v<T, Compute<T>>) {
    return value;
  } else {
    return to_float(value);
  }
}
template <typename T>
T narrow(Compute<T> value) {
  if constexpr (std::is_same_v<T, Bf16>) {
    return to_bf16(value);
  } else if constexpr (std::is_same_v<T, F16>) {
    return to_f16(value);
  } else {
    return value;
  }
}

}  // namespace adjoint::cpu
