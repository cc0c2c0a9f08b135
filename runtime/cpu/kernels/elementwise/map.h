// Loops from which the compiler makes vector code: a scalar function over contiguous elements. The
// 16-bit floats are computed in float.
#pragma once

#include <span>

#include "runtime/cpu/kernels/elements.h"
#include "runtime/cpu/kernels/elementwise/micro_kernels.h"

namespace adjoint::cpu {

// A range of element types. Generic lambdas get one element of each with `operator()<T>()`.
template <typename... T>
struct TypeList {};
using Floats = TypeList<float, double, Bf16, F16>;
using Numbers = TypeList<float, double, Bf16, F16, int32_t, int64_t, uint8_t>;
using AnyType = TypeList<float, double, Bf16, F16, int32_t, int64_t, uint8_t, bool>;

template <typename T>
inline const T* at(const MicroCall& call, int index) {
  return static_cast<const T*>(call.in[index]);
}

// F is a lambda without captures: (x) or (x, parameters), parameters an array of x's type.
template <typename In, typename Out, typename F>
void map_unary(const MicroCall& call) {
  using C = Compute<In>;
  const In* x = at<In>(call, 0);
  Out* y = static_cast<Out*>(call.out);
  const F f;
  if constexpr (std::is_invocable_v<F, C>) {
    // An output over an input is the same element's: no iteration reads what another writes.
#pragma GCC ivdep
    for (int64_t i = 0; i < call.count; ++i) y[i] = narrow<Out>(f(widen(x[i])));
  } else {
    const C p[] = {static_cast<C>(call.parameters[0]), static_cast<C>(call.parameters[1])};
#pragma GCC ivdep
    for (int64_t i = 0; i < call.count; ++i) y[i] = narrow<Out>(f(widen(x[i]), p));
  }
}

template <typename In, typename Out, typename F>
void map_binary(const MicroCall& call) {
  const In* a = at<In>(call, 0);
  const In* b = at<In>(call, 1);
  Out* y = static_cast<Out*>(call.out);
  const F f;
#pragma GCC ivdep
  for (int64_t i = 0; i < call.count; ++i) y[i] = narrow<Out>(f(widen(a[i]), widen(b[i])));
}

// One entry for each element type of the list; Out = void keeps the type. An op with attributes
// names their struct, whose fields are numbers.
template <typename Out, typename... T, typename F>
void add_unary_op(std::vector<MicroEntry>& table, std::string_view op, TypeList<T...>, F,
                  MicroParameters (*parameters)(const Attributes&) = nullptr) {
  auto entry = [&]<typename In>() {
    using Result = std::conditional_t<std::is_void_v<Out>, In, Out>;
    table.push_back({op, kDTypeOf<In>, kDTypeOf<Result>, map_unary<In, Result, F>, parameters});
  };
  (entry.template operator()<T>(), ...);
}
template <typename Out, typename... T, typename F>
void add_binary_op(std::vector<MicroEntry>& table, std::string_view op, TypeList<T...>, F) {
  auto entry = [&]<typename In>() {
    using Result = std::conditional_t<std::is_void_v<Out>, In, Out>;
    table.push_back({op, kDTypeOf<In>, kDTypeOf<Result>, map_binary<In, Result, F>});
  };
  (entry.template operator()<T>(), ...);
}

template <typename A>
MicroParameters parameters_of(const Attributes& attributes) {
  const A& value = attributes.get<A>();
  return std::apply(
      [&](const auto&... field) {
        return MicroParameters{static_cast<double>(value.*field.member)...};
      },
      A::fields());
}

}  // namespace adjoint::cpu
