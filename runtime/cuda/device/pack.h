// Several neighbouring elements moved at once, and positions taken apart.
//
//   const Pack<float, 4> p = load_pack<4>(x + 4 * i);
//   store_pack(y + 4 * i, p);
//   const Quotient at = divide(i, columns);  // at.whole: the row, at.rest: the column
#pragma once

#include <cstdint>

#include "graph/host_device.h"

namespace adjoint::cuda {

// How many elements of T one access of 16 bytes moves.
template <typename T>
inline constexpr int kFullPack = 16 / static_cast<int>(sizeof(T));

template <typename T, int kSize>
struct alignas(sizeof(T) * kSize) Pack {
  T values[kSize];
  ADJOINT_HOST_DEVICE T& operator[](int index) { return values[index]; }
  ADJOINT_HOST_DEVICE const T& operator[](int index) const { return values[index]; }
};

// `from` is aligned to the whole pack.
template <int kSize, typename T>
ADJOINT_HOST_DEVICE inline Pack<T, kSize> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, kSize>*>(from);
}
template <typename T, int kSize>
ADJOINT_HOST_DEVICE inline void store_pack(T* to, const Pack<T, kSize>& pack) {
  *reinterpret_cast<Pack<T, kSize>*>(to) = pack;
}

struct Quotient {
  int64_t whole;
  int64_t rest;
};
// Of numbers from 0 on. Devices divide 32 bits several times faster than 64.
ADJOINT_HOST_DEVICE inline Quotient divide(int64_t a, int64_t b) {
  if (((a | b) >> 32) == 0) {
    const uint32_t x = static_cast<uint32_t>(a), y = static_cast<uint32_t>(b);
    return {x / y, x % y};
  }
  return {a / b, a % b};
}

}  // namespace adjoint::cuda
