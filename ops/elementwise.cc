#include "ops/elementwise.h"

#include <cmath>
#include <numbers>
#include <string>

#include "ops/builder.h"

namespace adjoint {
namespace {

using Values = std::vector<Value>;
using Operands = std::span<const Value>;

// Inference: a unary op keeps its operand's type; the n-ary ones broadcast.

std::vector<Type> infer_any(const Inference& in) { return {in.operand(0)}; }

std::vector<Type> infer_number(const Inference& in) {
  require_numeric(in, 0);
  return {in.operand(0)};
}

std::vector<Type> infer_float(const Inference& in) {
  in.require_float(0);
  return {in.operand(0)};
}

std::vector<Type> infer_clamp(const Inference& in) {
  const auto& [low, high] = in.attributes<ClampAttributes>();
  if (!(low <= high)) {
    in.fail("the bounds are not in order: " + field_text(low) + " and " + field_text(high));
  }
  return infer_float(in);
}

std::vector<Type> infer_cast(const Inference& in) {
  return {{in.attributes<CastAttributes>().dtype, in.shape(0)}};
}

std::vector<Type> infer_is_finite(const Inference& in) {
  in.require_float(0);
  return {{DType::boolean, in.shape(0)}};
}

std::vector<Type> infer_logical_not(const Inference& in) {
  in.require_dtype(0, DType::boolean);
  return {in.operand(0)};
}

std::vector<Type> infer_binary_number(const Inference& in) {
  require_numeric(in, 0);
  in.require_same_dtype();
  return {{in.dtype(0), broadcast_operands(in)}};
}

std::vector<Type> infer_binary_float(const Inference& in) {
  in.require_float(0);
  return infer_binary_number(in);
}

std::vector<Type> infer_equality(const Inference& in) {
  in.require_same_dtype();
  return {{DType::boolean, broadcast_operands(in)}};
}

std::vector<Type> infer_order(const Inference& in) {
  require_numeric(in, 0);
  return infer_equality(in);
}

std::vector<Type> infer_logical(const Inference& in) {
  in.require_dtype(0, DType::boolean);
  in.require_dtype(1, DType::boolean);
  return infer_equality(in);
}

std::vector<Type> infer_select(const Inference& in) {
  in.require_dtype(0, DType::boolean);
  if (in.dtype(1) != in.dtype(2)) {
    in.fail("element types differ: " + to_text(in.operand(1)) + " and " + to_text(in.operand(2)) +
            " (use cast)");
  }
  return {{in.dtype(1), broadcast_operands(in)}};
}

// Definitions that differ in little.

constexpr OpDef unary(std::string_view name, InferTypes infer, Decompose decompose = nullptr,
                      const AttributesInfo* attributes = nullptr) {
  return {.name = name,
          .min_operands = 1,
          .max_operands = 1,
          .attributes = attributes,
          .infer = infer,
          .traits = {.elementwise = true},
          .decompose = decompose};
}

constexpr OpDef binary(std::string_view name, InferTypes infer, bool commutative = false,
                       Decompose decompose = nullptr) {
  return {.name = name,
          .min_operands = 2,
          .max_operands = 2,
          .infer = infer,
          .traits = {.elementwise = true, .commutative = commutative},
          .decompose = decompose};
}

// Decompositions.

Values decompose_gelu(Operands in, const Attributes& attributes) {
  const Value x = in[0];
  if (attributes.get<GeluAttributes>().approximate) {
    const Value inner = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * (x * square(x)));
    return {0.5 * x * (1.0 + tanh(inner))};
  }
  return {0.5 * x * (1.0 + erf(x * std::numbers::sqrt2 / 2))};
}

Values decompose_clamp(Operands in, const Attributes& attributes) {
  const auto& [low, high] = attributes.get<ClampAttributes>();
  return {minimum(maximum(in[0], low), high)};
}

Values decompose_leaky_relu(Operands in, const Attributes& attributes) {
  const double slope = attributes.get<LeakyReluAttributes>().slope;
  return {select(greater(in[0], 0.0), in[0], in[0] * slope)};
}

Values decompose_elu(Operands in, const Attributes& attributes) {
  const double alpha = attributes.get<EluAttributes>().alpha;
  return {select(greater(in[0], 0.0), in[0], alpha * expm1(in[0]))};
}

Values decompose_softplus(Operands in, const Attributes&) {
  return {maximum(in[0], 0.0) + log1p(exp(-abs(in[0])))};
}

}  // namespace

constexpr OpDef kNeg = unary("neg", infer_number);
constexpr OpDef kAbs = unary("abs", infer_number);
constexpr OpDef kSign = unary("sign", infer_number);
constexpr OpDef kSquare = unary(
    "square", infer_number, [](Operands in, const Attributes&) { return Values{in[0] * in[0]}; });
constexpr OpDef kExp = unary("exp", infer_float);
constexpr OpDef kExpm1 = unary("expm1", infer_float);
constexpr OpDef kLog = unary("log", infer_float);
constexpr OpDef kLog1p = unary("log1p", infer_float);
constexpr OpDef kSqrt = unary("sqrt", infer_float);
constexpr OpDef kRsqrt = unary(
    "rsqrt", infer_float, [](Operands in, const Attributes&) { return Values{1.0 / sqrt(in[0])}; });
constexpr OpDef kReciprocal = unary(
    "reciprocal", infer_float, [](Operands in, const Attributes&) { return Values{1.0 / in[0]}; });
constexpr OpDef kSin = unary("sin", infer_float);
constexpr OpDef kCos = unary("cos", infer_float);
constexpr OpDef kTanh = unary("tanh", infer_float);
constexpr OpDef kSigmoid = unary("sigmoid", infer_float, [](Operands in, const Attributes&) {
  return Values{1.0 / (1.0 + exp(-in[0]))};
});
constexpr OpDef kSoftplus = unary("softplus", infer_float, decompose_softplus);
constexpr OpDef kRelu = unary("relu", infer_float);
constexpr OpDef kLeakyRelu =
    unary("leaky_relu", infer_float, decompose_leaky_relu, &kAttributesOf<LeakyReluAttributes>);
constexpr OpDef kElu = unary("elu", infer_float, decompose_elu, &kAttributesOf<EluAttributes>);
constexpr OpDef kGelu = unary("gelu", infer_float, decompose_gelu, &kAttributesOf<GeluAttributes>);
constexpr OpDef kSilu = unary("silu", infer_float, [](Operands in, const Attributes&) {
  return Values{in[0] * sigmoid(in[0])};
});
constexpr OpDef kSoftsign = unary("softsign", infer_float);
constexpr OpDef kErf = unary("erf", infer_float);
constexpr OpDef kFloor = unary("floor", infer_float);
constexpr OpDef kClamp =
    unary("clamp", infer_clamp, decompose_clamp, &kAttributesOf<ClampAttributes>);
constexpr OpDef kCast = unary("cast", infer_cast, nullptr, &kAttributesOf<CastAttributes>);
constexpr OpDef kIsFinite = unary("is_finite", infer_is_finite);
constexpr OpDef kLogicalNot = unary("logical_not", infer_logical_not);
constexpr OpDef kStopGradient = unary("stop_gradient", infer_any);
constexpr OpDef kCheckFinite = {.name = "check_finite",
                                .min_operands = 1,
                                .max_operands = 1,
                                .infer = infer_float,
                                .traits = {.data_checked = true}};

constexpr OpDef kAdd = binary("add", infer_binary_number, true);
constexpr OpDef kSub = binary("sub", infer_binary_number);
constexpr OpDef kMul = binary("mul", infer_binary_number, true);
constexpr OpDef kDiv = binary("div", infer_binary_number);
constexpr OpDef kPow = binary("pow", infer_binary_float);
constexpr OpDef kMaximum = binary("maximum", infer_binary_number);
constexpr OpDef kMinimum = binary("minimum", infer_binary_number);
constexpr OpDef kReluGrad = binary(
    "relu_grad", infer_binary_float, false,
    [](Operands in, const Attributes&) { return Values{select(greater(in[1], 0.0), in[0], 0.0)}; });

constexpr OpDef kEqual = binary("equal", infer_equality, true);
constexpr OpDef kNotEqual = binary("not_equal", infer_equality, true);
constexpr OpDef kLess = binary("less", infer_order);
constexpr OpDef kLessEqual = binary("less_equal", infer_order);
constexpr OpDef kGreater = binary("greater", infer_order);
constexpr OpDef kGreaterEqual = binary("greater_equal", infer_order);
constexpr OpDef kLogicalAnd = binary("logical_and", infer_logical, true);
constexpr OpDef kLogicalOr = binary("logical_or", infer_logical, true);
constexpr OpDef kLogicalXor = binary("logical_xor", infer_logical, true);
constexpr OpDef kSelect = {.name = "select",
                           .min_operands = 3,
                           .max_operands = 3,
                           .infer = infer_select,
                           .traits = {.elementwise = true}};

std::span<const OpDef* const> elementwise_ops() {
  static constexpr const OpDef* kOps[] = {
      &kNeg,          &kAbs,        &kSign,      &kSquare,     &kExp,    &kExpm1,      &kLog,
      &kLog1p,        &kSqrt,       &kRsqrt,     &kReciprocal, &kSin,    &kCos,        &kTanh,
      &kSigmoid,      &kSoftplus,   &kRelu,      &kLeakyRelu,  &kElu,    &kGelu,       &kSilu,
      &kSoftsign,     &kErf,        &kFloor,     &kClamp,      &kCast,   &kIsFinite,   &kLogicalNot,
      &kStopGradient, &kAdd,        &kSub,       &kMul,        &kDiv,    &kPow,        &kMaximum,
      &kMinimum,      &kReluGrad,   &kEqual,     &kNotEqual,   &kLess,   &kLessEqual,  &kGreater,
      &kGreaterEqual, &kLogicalAnd, &kLogicalOr, &kLogicalXor, &kSelect, &kCheckFinite};
  return kOps;
}

Value neg(Located x) { return build(kNeg, x); }
Value abs(Located x) { return build(kAbs, x); }
Value sign(Located x) { return build(kSign, x); }
Value square(Located x) { return build(kSquare, x); }
Value exp(Located x) { return build(kExp, x); }
Value expm1(Located x) { return build(kExpm1, x); }
Value log(Located x) { return build(kLog, x); }
Value log1p(Located x) { return build(kLog1p, x); }
Value sqrt(Located x) { return build(kSqrt, x); }
Value rsqrt(Located x) { return build(kRsqrt, x); }
Value reciprocal(Located x) { return build(kReciprocal, x); }
Value sin(Located x) { return build(kSin, x); }
Value cos(Located x) { return build(kCos, x); }
Value tanh(Located x) { return build(kTanh, x); }
Value sigmoid(Located x) { return build(kSigmoid, x); }
Value softplus(Located x) { return build(kSoftplus, x); }
Value relu(Located x) { return build(kRelu, x); }
Value silu(Located x) { return build(kSilu, x); }
Value softsign(Located x) { return build(kSoftsign, x); }
Value erf(Located x) { return build(kErf, x); }
Value floor(Located x) { return build(kFloor, x); }
Value leaky_relu(Located x, double slope) {
  return build(kLeakyRelu, x, {}, LeakyReluAttributes{slope});
}
Value elu(Located x, double alpha) { return build(kElu, x, {}, EluAttributes{alpha}); }
Value gelu(Located x, bool approximate) { return build(kGelu, x, {}, GeluAttributes{approximate}); }
Value clamp(Located x, double low, double high) {
  return build(kClamp, x, {}, ClampAttributes{low, high});
}
Value cast(Located x, DType dtype) { return build(kCast, x, {}, CastAttributes{dtype}); }
Value is_finite(Located x) { return build(kIsFinite, x); }
Value logical_not(Located x) { return build(kLogicalNot, x); }
Value stop_gradient(Located x) { return build(kStopGradient, x); }
Value check_finite(Located x) { return build(kCheckFinite, x); }

Value add(Located a, Value b) { return build(kAdd, a, {b}); }
Value sub(Located a, Value b) { return build(kSub, a, {b}); }
Value mul(Located a, Value b) { return build(kMul, a, {b}); }
Value div(Located a, Value b) { return build(kDiv, a, {b}); }
Value pow(Located a, Value b) { return build(kPow, a, {b}); }
Value maximum(Located a, Value b) { return build(kMaximum, a, {b}); }
Value minimum(Located a, Value b) { return build(kMinimum, a, {b}); }
Value relu_grad(Located dy, Value y) { return build(kReluGrad, dy, {y}); }
Value equal(Located a, Value b) { return build(kEqual, a, {b}); }
Value not_equal(Located a, Value b) { return build(kNotEqual, a, {b}); }
Value less(Located a, Value b) { return build(kLess, a, {b}); }
Value less_equal(Located a, Value b) { return build(kLessEqual, a, {b}); }
Value greater(Located a, Value b) { return build(kGreater, a, {b}); }
Value greater_equal(Located a, Value b) { return build(kGreaterEqual, a, {b}); }
Value logical_and(Located a, Value b) { return build(kLogicalAnd, a, {b}); }
Value logical_or(Located a, Value b) { return build(kLogicalOr, a, {b}); }
Value logical_xor(Located a, Value b) { return build(kLogicalXor, a, {b}); }
Value select(Located condition, Value a, Value b) { return build(kSelect, condition, {a, b}); }

Value pow(Located a, double b) { return pow(a, scalar_like(a, b)); }
Value maximum(Located a, double b) { return maximum(a, scalar_like(a, b)); }
Value minimum(Located a, double b) { return minimum(a, scalar_like(a, b)); }
Value equal(Located a, double b) { return equal(a, scalar_like(a, b)); }
Value not_equal(Located a, double b) { return not_equal(a, scalar_like(a, b)); }
Value less(Located a, double b) { return less(a, scalar_like(a, b)); }
Value less_equal(Located a, double b) { return less_equal(a, scalar_like(a, b)); }
Value greater(Located a, double b) { return greater(a, scalar_like(a, b)); }
Value greater_equal(Located a, double b) { return greater_equal(a, scalar_like(a, b)); }
Value select(Located condition, Value a, double b) {
  return select(condition, a, scalar_like({a, condition.where}, b));
}
Value select(Located condition, double a, Value b) {
  return select(condition, scalar_like({b, condition.where}, a), b);
}

Value operator+(Located a, Value b) { return add(a, b); }
Value operator-(Located a, Value b) { return sub(a, b); }
Value operator*(Located a, Value b) { return mul(a, b); }
Value operator/(Located a, Value b) { return div(a, b); }
Value operator-(Located x) { return neg(x); }
Value operator+(Located a, double b) { return add(a, scalar_like(a, b)); }
Value operator-(Located a, double b) { return sub(a, scalar_like(a, b)); }
Value operator*(Located a, double b) { return mul(a, scalar_like(a, b)); }
Value operator/(Located a, double b) { return div(a, scalar_like(a, b)); }
Value operator+(double a, Located b) { return add({scalar_like(b, a), b.where}, b); }
Value operator-(double a, Located b) { return sub({scalar_like(b, a), b.where}, b); }
Value operator*(double a, Located b) { return mul({scalar_like(b, a), b.where}, b); }
Value operator/(double a, Located b) { return div({scalar_like(b, a), b.where}, b); }

}  // namespace adjoint
