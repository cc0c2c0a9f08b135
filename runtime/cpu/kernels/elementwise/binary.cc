// Ops of two operands that keep their type.
#include "runtime/cpu/kernels/elementwise/map.h"
#include "runtime/scalar/arithmetic.h"
#include "runtime/scalar/exponential.h"

namespace adjoint::cpu {

void add_binary(std::vector<MicroEntry>& table) {
  auto numbers = [&](std::string_view op, auto f) { add_binary_op<void>(table, op, Numbers{}, f); };
  auto floats = [&](std::string_view op, auto f) { add_binary_op<void>(table, op, Floats{}, f); };

  numbers("add", [](auto a, auto b) { return scalar::add(a, b); });
  numbers("sub", [](auto a, auto b) { return scalar::sub(a, b); });
  numbers("mul", [](auto a, auto b) { return scalar::mul(a, b); });
  numbers("div", [](auto a, auto b) { return scalar::div(a, b); });
  numbers("maximum", [](auto a, auto b) { return scalar::maximum(a, b); });
  numbers("minimum", [](auto a, auto b) { return scalar::minimum(a, b); });

  floats("pow", [](auto a, auto b) { return scalar::pow(a, b); });
  floats("relu_grad", [](auto dy, auto y) { return y > 0 ? dy : decltype(dy)(0); });
}

}  // namespace adjoint::cpu
