// Elements of every type in device code: how they are stored and what they are computed in.
//
//   Compute<Bf16> x = widen(p[i]);  q[i] = narrow<Bf16>(x * 2);
#pragma once

#include "graph/float16.h"
#include "graph/host_device.h"

namespace adjoint::cuda {

// 16-bit floats are computed in float, everything else in itself.
template <typename T>
struct ComputeType {
  using type = T;
};
template <>
struct ComputeType<Bf16> {
  using type = float;
};
template <>
struct ComputeType<F16> {
  using type = float;
};
template <typename T>
using Compute = typename ComputeType<T>::type;

template <typename T>
ADJOINT_HOST_DEVICE inline T widen(T value) {
  return value;
}
ADJOINT_HOST_DEVICE inline float widen(Bf16 value) { return to_float(value); }
ADJOINT_HOST_DEVICE inline float widen(F16 value) { return to_float(value); }

template <typename T>
struct Narrow {
  template <typename C>
  ADJOINT_HOST_DEVICE static T from(C value) {
    return static_cast<T>(value);
  }
};
template <>
struct Narrow<Bf16> {
  ADJOINT_HOST_DEVICE static Bf16 from(float value) { return to_bf16(value); }
};
template <>
struct Narrow<F16> {
  ADJOINT_HOST_DEVICE static F16 from(float value) { return to_f16(value); }
};
template <typename T, typename C>
ADJOINT_HOST_DEVICE inline T narrow(C value) {
  return Narrow<T>::from(value);
}

// Whether max pooling takes `value` instead of the best before it: the first of the largest stays,
// and so does the first NaN, which wins.
template <typename C>
ADJOINT_HOST_DEVICE inline bool beats(C value, C best) {
  return value > best || (value != value && best == best);
}

}  // namespace adjoint::cuda
