#include "ops/elementwise.h"

#include <cmath>
#include <numbers>

#include "tests/oracle/oracle.h"

namespace adjoint::oracle {
namespace {

using Integer = __int128;

// Two's complement, cut to the type.
Real wrapped(DType dtype, Integer value) {
  if (dtype == DType::i32) return static_cast<int32_t>(static_cast<uint32_t>(value));
  if (dtype == DType::u8) return static_cast<uint8_t>(value);
  return static_cast<int64_t>(static_cast<uint64_t>(value));
}

template <typename F>
Tensor map(const Tensor& x, DType dtype, F f) {
  Tensor result{dtype, x.dims, {}};
  for (Real value : x.values) result.values.push_back(f(value));
  return result;
}

template <typename F>
Tensor map(const Tensor& a, const Tensor& b, DType dtype, F f) {
  Tensor result = filled(dtype, broadcast(a.dims, b.dims), 0);
  for_each_index(result.dims, [&](const Index& i) {
    result.at(i) = f(a.values[broadcast_offset(a.dims, i)], b.values[broadcast_offset(b.dims, i)]);
  });
  return result;
}

Real sigmoid_of(Real x) { return 1 / (1 + std::exp(-x)); }
Real sign_of(Real x) { return std::isnan(x) ? x : Real((x > 0) - (x < 0)); }

using FloatFunction = Real (*)(Real);
using FloatFunction2 = Real (*)(Real, Real);
using IntegerFunction = Integer (*)(Integer);
using IntegerFunction2 = Integer (*)(Integer, Integer);

// A function of one number, by its formula; without `integer` for floats only.
Function unary(FloatFunction real, IntegerFunction integer = nullptr) {
  return [=](const Call& call) -> Outputs {
    const DType dtype = call.input(0).dtype;
    return {map(call.input(0), dtype, [&](Real x) {
      return is_float(dtype) ? real(x) : wrapped(dtype, integer(static_cast<Integer>(x)));
    })};
  };
}

Function binary(FloatFunction2 real, IntegerFunction2 integer = nullptr) {
  return [=](const Call& call) -> Outputs {
    const DType dtype = call.input(0).dtype;
    return {map(call.input(0), call.input(1), dtype, [&](Real a, Real b) {
      if (is_float(dtype)) return real(a, b);
      return wrapped(dtype, integer(static_cast<Integer>(a), static_cast<Integer>(b)));
    })};
  };
}

Function compare(bool (*holds)(Real, Real)) {
  return [=](const Call& call) -> Outputs {
    return {map(call.input(0), call.input(1), DType::boolean, holds)};
  };
}

Outputs leaky_relu_value(const Call& call) {
  const Real slope = call.attributes<LeakyReluAttributes>().slope;
  return {map(call.input(0), call.input(0).dtype, [&](Real x) { return x > 0 ? x : slope * x; })};
}

Outputs elu_value(const Call& call) {
  const Real alpha = call.attributes<EluAttributes>().alpha;
  return {map(call.input(0), call.input(0).dtype,
              [&](Real x) { return x > 0 ? x : alpha * std::expm1(x); })};
}

Outputs gelu_value(const Call& call) {
  const bool approximate = call.attributes<GeluAttributes>().approximate;
  constexpr Real kPi = std::numbers::pi_v<Real>;
  Tensor y = map(call.input(0), call.input(0).dtype, [&](Real x) {
    if (!approximate) return x * (1 + std::erf(x / std::sqrt(Real(2)))) / 2;
    return x * (1 + std::tanh(std::sqrt(2 / kPi) * (x + Real(0.044715) * x * x * x))) / 2;
  });
  // 1 + erf cancels for x < 0, so the bound is that of x * (1 + erf) with |erf| for erf.
  for (Real x : call.input(0).values) y.error.push_back(2 * kUlps * std::fabs(x));
  return {y};
}

Outputs clamp_value(const Call& call) {
  const auto& bounds = call.attributes<ClampAttributes>();
  const DType dtype = call.input(0).dtype;
  const Real low = rounded(dtype, bounds.low), high = rounded(dtype, bounds.high);
  return {map(call.input(0), dtype, [&](Real x) { return x < low ? low : x > high ? high : x; })};
}

Outputs cast_value(const Call& call) {
  const DType to = call.attributes<CastAttributes>().dtype;
  return {map(call.input(0), to, [&](Real x) { return converted(call.input(0).dtype, to, x); })};
}

Outputs is_finite_value(const Call& call) {
  return {map(call.input(0), DType::boolean, [](Real x) { return Real(std::isfinite(x)); })};
}

Outputs logical_not_value(const Call& call) {
  return {map(call.input(0), DType::boolean, [](Real x) { return Real(x == 0); })};
}

Outputs same_value(const Call& call) { return {call.input(0)}; }

Outputs relu_grad_value(const Call& call) {
  return {map(call.input(0), call.input(1), call.input(0).dtype,
              [](Real dy, Real y) { return y > 0 ? dy : 0; })};
}

Outputs select_value(const Call& call) {
  const Tensor &condition = call.input(0), &a = call.input(1), &b = call.input(2);
  Tensor result = filled(a.dtype, broadcast(condition.dims, broadcast(a.dims, b.dims)), 0);
  for_each_index(result.dims, [&](const Index& i) {
    const Tensor& taken = condition.values[broadcast_offset(condition.dims, i)] != 0 ? a : b;
    result.at(i) = taken.values[broadcast_offset(taken.dims, i)];
  });
  return {result};
}

Real larger(Real a, Real b) { return std::isnan(a) || std::isnan(b) ? NAN : a > b ? a : b; }
Real smaller(Real a, Real b) { return std::isnan(a) || std::isnan(b) ? NAN : a < b ? a : b; }

}  // namespace

void add_elementwise(Functions& f) {
  using R = Real;
  using I = Integer;
  f["neg"] = unary([](R x) { return -x; }, [](I x) { return -x; });
  f["abs"] = unary([](R x) { return std::fabs(x); }, [](I x) { return x < 0 ? -x : x; });
  f["sign"] = unary(sign_of, [](I x) { return I((x > 0) - (x < 0)); });
  f["square"] = unary([](R x) { return x * x; }, [](I x) { return x * x; });
  f["exp"] = unary([](R x) { return std::exp(x); });
  f["expm1"] = unary([](R x) { return std::expm1(x); });
  f["log"] = unary([](R x) { return std::log(x); });
  f["log1p"] = unary([](R x) { return std::log1p(x); });
  f["sqrt"] = unary([](R x) { return std::sqrt(x); });
  f["rsqrt"] = unary([](R x) { return 1 / std::sqrt(x); });
  f["reciprocal"] = unary([](R x) { return 1 / x; });
  f["sin"] = unary([](R x) { return std::sin(x); });
  f["cos"] = unary([](R x) { return std::cos(x); });
  f["tanh"] = unary([](R x) { return std::tanh(x); });
  f["sigmoid"] = unary(sigmoid_of);
  f["softplus"] = unary([](R x) { return x > 60 ? x : std::log1p(std::exp(x)); });
  f["relu"] = unary([](R x) { return std::isnan(x) ? x : x > 0 ? x : 0; });
  f["silu"] = unary([](R x) { return x * sigmoid_of(x); });
  f["softsign"] = unary([](R x) { return std::isinf(x) ? sign_of(x) : x / (1 + std::fabs(x)); });
  f["erf"] = unary([](R x) { return std::erf(x); });
  f["floor"] = unary([](R x) { return std::floor(x); });
  f["leaky_relu"] = leaky_relu_value;
  f["elu"] = elu_value;
  f["gelu"] = gelu_value;
  f["clamp"] = clamp_value;
  f["cast"] = cast_value;
  f["is_finite"] = is_finite_value;
  f["logical_not"] = logical_not_value;
  f["stop_gradient"] = same_value;
  f["check_finite"] = same_value;

  f["add"] = binary([](R a, R b) { return a + b; }, [](I a, I b) { return a + b; });
  f["sub"] = binary([](R a, R b) { return a - b; }, [](I a, I b) { return a - b; });
  f["mul"] = binary([](R a, R b) { return a * b; }, [](I a, I b) { return a * b; });
  f["div"] = binary([](R a, R b) { return a / b; }, [](I a, I b) { return b == 0 ? 0 : a / b; });
  f["pow"] = binary([](R a, R b) { return std::pow(a, b); });
  f["maximum"] = binary(larger, [](I a, I b) { return a > b ? a : b; });
  f["minimum"] = binary(smaller, [](I a, I b) { return a < b ? a : b; });
  f["relu_grad"] = relu_grad_value;
  f["equal"] = compare([](R a, R b) { return a == b; });
  f["not_equal"] = compare([](R a, R b) { return a != b; });
  f["less"] = compare([](R a, R b) { return a < b; });
  f["less_equal"] = compare([](R a, R b) { return a <= b; });
  f["greater"] = compare([](R a, R b) { return a > b; });
  f["greater_equal"] = compare([](R a, R b) { return a >= b; });
  f["logical_and"] = compare([](R a, R b) { return a != 0 && b != 0; });
  f["logical_or"] = compare([](R a, R b) { return a != 0 || b != 0; });
  f["logical_xor"] = compare([](R a, R b) { return (a != 0) != (b != 0); });
  f["select"] = select_value;
}

}  // namespace adjoint::oracle
