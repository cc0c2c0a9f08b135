// cast between all element types, and plain copies (stop_gradient).
#include "runtime/cpu/kernels/elementwise/map.h"
#include "runtime/scalar/arithmetic.h"

namespace adjoint::cpu {
namespace {

// A value of the storage type From as one of To.
template <typename To, typename From>
inline To convert(From from) {
  const auto x = widen(from);
  using C = std::decay_t<decltype(x)>;
  if constexpr (std::is_same_v<To, bool>) {
    return x != C(0);
  } else if constexpr (std::is_floating_point_v<C> && std::is_integral_v<To>) {
    return scalar::to_integer<To>(x);
  } else if constexpr (std::is_same_v<To, Bf16> || std::is_same_v<To, F16>) {
    // Integers up to 2^53 are doubles.
    constexpr bool kExact = sizeof(C) < 4 || std::is_same_v<C, float>;
    return narrow<To>(kExact ? static_cast<float>(x) : scalar::to_float_odd(x));
  } else {
    return static_cast<To>(x);
  }
}

template <typename From, typename To>
void map_cast(const MicroCall& call) {
  const From* x = at<From>(call, 0);
  To* y = static_cast<To*>(call.out);
#pragma GCC ivdep
  for (int64_t i = 0; i < call.count; ++i) {
    if constexpr (std::is_same_v<From, To>) {
      y[i] = x[i];
    } else {
      y[i] = convert<To>(x[i]);
    }
  }
}

template <typename From, typename... To>
void add_casts_from(std::vector<MicroEntry>& table, TypeList<To...>) {
  (table.push_back({"cast", kDTypeOf<From>, kDTypeOf<To>, map_cast<From, To>}), ...);
  table.push_back({"stop_gradient", kDTypeOf<From>, kDTypeOf<From>, map_cast<From, From>});
}

template <typename... From>
void add_all_casts(std::vector<MicroEntry>& table, TypeList<From...>) {
  (add_casts_from<From>(table, AnyType{}), ...);
}

}  // namespace

void add_casts(std::vector<MicroEntry>& table) { add_all_casts(table, AnyType{}); }

}  // namespace adjoint::cpu
