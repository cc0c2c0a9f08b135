// Ops of one operand that keep its type.
#include "ops/elementwise.h"
#include "runtime/cpu/kernels/elementwise/map.h"
#include "runtime/scalar/activation.h"
#include "runtime/scalar/arithmetic.h"
#include "runtime/scalar/trigonometric.h"

namespace adjoint::cpu {

void add_unary(std::vector<MicroEntry>& table) {
  auto numbers = [&](std::string_view op, auto f) { add_unary_op<void>(table, op, Numbers{}, f); };
  auto floats = [&](std::string_view op, auto f, auto... parameters) {
    add_unary_op<void>(table, op, Floats{}, f, parameters...);
  };

  numbers("neg", [](auto x) { return scalar::neg(x); });
  numbers("abs", [](auto x) { return scalar::abs(x); });
  numbers("sign", [](auto x) { return scalar::sign(x); });
  numbers("square", [](auto x) { return scalar::mul(x, x); });

  floats("exp", [](auto x) { return scalar::exp(x); });
  floats("expm1", [](auto x) { return scalar::expm1(x); });
  floats("log", [](auto x) { return scalar::log(x); });
  floats("log1p", [](auto x) { return scalar::log1p(x); });
  floats("sqrt", [](auto x) { return scalar::sqrt(x); });
  floats("rsqrt", [](auto x) { return decltype(x)(1) / scalar::sqrt(x); });
  floats("reciprocal", [](auto x) { return decltype(x)(1) / x; });
  floats("sin", [](auto x) { return scalar::sin(x); });
  floats("cos", [](auto x) { return scalar::cos(x); });
  floats("tanh", [](auto x) { return scalar::tanh(x); });
  floats("sigmoid", [](auto x) { return scalar::sigmoid(x); });
  floats("softplus", [](auto x) { return scalar::softplus(x); });
  floats("relu", [](auto x) { return scalar::relu(x); });
  floats("silu", [](auto x) { return scalar::silu(x); });
  floats("softsign", [](auto x) { return scalar::softsign(x); });
  floats("erf", [](auto x) { return scalar::erf(x); });
  floats("floor", [](auto x) { return scalar::floor(x); });
  floats(
      "leaky_relu", [](auto x, const auto& p) { return scalar::leaky_relu(x, p[0]); },
      parameters_of<LeakyReluAttributes>);
  floats(
      "elu", [](auto x, const auto& p) { return scalar::elu(x, p[0]); },
      parameters_of<EluAttributes>);
  floats(
      "clamp", [](auto x, const auto& p) { return scalar::clamp(x, p[0], p[1]); },
      parameters_of<ClampAttributes>);
  floats(
      "gelu",
      [](auto x, const auto& p) { return p[0] != 0 ? scalar::gelu_tanh(x) : scalar::gelu(x); },
      parameters_of<GeluAttributes>);
}

}  // namespace adjoint::cpu
