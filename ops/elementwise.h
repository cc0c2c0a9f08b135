// Elementwise ops: one output element from the operands' elements at the same place.
//
//   Value y = relu(x * 2.0 + b);               // operators, and doubles as constants of x's type
//   Value z = select(greater(x, 0.0), x, y);   // comparisons are named functions
//
// Operands broadcast as in numpy; their element types must be equal (there is no promotion, see
// cast). Every op with `floats` below takes f32, f64, bf16, f16; `numbers` adds i32, i64, u8, whose
// arithmetic wraps. A wrong type or shape throws GraphError naming the op, the types and the line.
// Below, dy is the cotangent; where a derivative has a kink, its value there is given.
#pragma once

#include <limits>
#include <span>

#include "graph/block.h"

namespace adjoint {

extern const OpDef kNeg, kAbs, kSign, kSquare, kExp, kExpm1, kLog, kLog1p, kSqrt, kRsqrt,
    kReciprocal, kSin, kCos, kTanh, kSigmoid, kSoftplus, kRelu, kLeakyRelu, kElu, kGelu, kSilu,
    kSoftsign, kErf, kFloor, kClamp, kCast, kIsFinite, kLogicalNot, kStopGradient;
extern const OpDef kAdd, kSub, kMul, kDiv, kPow, kMaximum, kMinimum, kReluGrad;
extern const OpDef kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kLogicalAnd,
    kLogicalOr, kLogicalXor, kSelect, kCheckFinite;

// All of the above.
std::span<const OpDef* const> elementwise_ops();

struct LeakyReluAttributes {
  double slope = 0.01;
  static constexpr auto fields() { return std::tuple{Field{"slope", &LeakyReluAttributes::slope}}; }
};
struct EluAttributes {
  double alpha = 1;
  static constexpr auto fields() { return std::tuple{Field{"alpha", &EluAttributes::alpha}}; }
};
struct GeluAttributes {
  bool approximate = false;
  static constexpr auto fields() {
    return std::tuple{Field{"approximate", &GeluAttributes::approximate}};
  }
};
struct ClampAttributes {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  static constexpr auto fields() {
    return std::tuple{Field{"low", &ClampAttributes::low}, Field{"high", &ClampAttributes::high}};
  }
};
struct CastAttributes {
  DType dtype = DType::f32;
  static constexpr auto fields() { return std::tuple{Field{"dtype", &CastAttributes::dtype}}; }
};

// One operand; the result has its type and shape unless said.

Value neg(Located x);         // -x (numbers)
Value abs(Located x);         // |x| (numbers); the derivative is 0 at 0
Value sign(Located x);        // -1, 0 or 1; NaN for NaN (numbers); the derivative is 0
Value square(Located x);      // x * x (numbers)
Value exp(Located x);         // e^x (floats, as all down to floor)
Value expm1(Located x);       // e^x - 1, exact near 0
Value log(Located x);         // natural logarithm; -inf at 0, NaN below
Value log1p(Located x);       // log(1 + x), exact near 0
Value sqrt(Located x);        // NaN below 0; the derivative is infinite at 0
Value rsqrt(Located x);       // 1 / sqrt(x)
Value reciprocal(Located x);  // 1 / x
Value sin(Located x);         // of radians
Value cos(Located x);
Value tanh(Located x);
Value sigmoid(Located x);   // 1 / (1 + e^-x)
Value softplus(Located x);  // log(1 + e^x) = max(x, 0) + log1p(e^-|x|)
Value relu(Located x);      // max(x, 0), NaN for NaN; the derivative is 0 at 0
Value silu(Located x);      // x * sigmoid(x)
Value softsign(Located x);  // x / (1 + |x|), the limits -1 and 1 at infinity
Value erf(Located x);       // 2 / sqrt(pi) * integral of e^(-t^2) from 0 to x
Value floor(Located x);     // the derivative is 0
// x > 0 ? x : slope * x; the derivative at 0 is slope (PyTorch).
Value leaky_relu(Located x, double slope = 0.01);
// x > 0 ? x : alpha * (e^x - 1); the derivative at 0 is alpha.
Value elu(Located x, double alpha = 1);
// x * (1 + erf(x / sqrt 2)) / 2; approximate: x * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.
Value gelu(Located x, bool approximate = false);
// min(max(x, low), high) (floats), NaN for NaN; low <= high (GraphError). The derivative is 1
// inside, the bounds included, else 0 (PyTorch).
Value clamp(Located x, double low, double high);
// The values in another element type, any to any: floats round to nearest even; float to integer
// cuts towards 0 and saturates, NaN gives 0; integers to narrower ones wrap; to bool is x != 0.
Value cast(Located x, DType dtype);
Value is_finite(Located x);      // neither infinite nor NaN (floats) -> bool
Value logical_not(Located x);    // bool
Value stop_gradient(Located x);  // x, of any type; no gradient passes
// x (floats); the step throws DataError, and leaves the state alone, where an element is infinite
// or NaN. Only what a result or an update needs is computed, and so checked.
Value check_finite(Located x);

// Two operands of one type, broadcast; the result has that type.

Value add(Located a, Value b);  // a + b (numbers)
Value sub(Located a, Value b);  // a - b (numbers)
Value mul(Located a, Value b);  // a * b (numbers)
// a / b (numbers); integers are cut towards 0, x / 0 is 0 and the lowest number / -1 wraps.
Value div(Located a, Value b);
// a^b (floats), as C's pow. The gradient for a is b a^(b-1), 0 at a = b = 0; for b it is
// log(a) a^b, 0 at a = 0 (PyTorch) and NaN for a < 0.
Value pow(Located a, Value b);
// The larger, the smaller (numbers); NaN if either is. Ties give half the gradient to each
// (PyTorch).
Value maximum(Located a, Value b);
Value minimum(Located a, Value b);
// y > 0 ? dy : 0 (floats), where y = relu(x).
Value relu_grad(Located dy, Value y);

// Comparisons: two operands of one type -> bool. NaN is unequal to all and in no order. `equal` and
// `not_equal` take any type, the others numbers.
Value equal(Located a, Value b);
Value not_equal(Located a, Value b);
Value less(Located a, Value b);
Value less_equal(Located a, Value b);
Value greater(Located a, Value b);
Value greater_equal(Located a, Value b);

Value logical_and(Located a, Value b);  // bool
Value logical_or(Located a, Value b);
Value logical_xor(Located a, Value b);

// condition ? a : b, all three broadcast; the condition is bool, a and b of one type, any.
Value select(Located condition, Value a, Value b);

// The same with a number, which becomes a scalar constant of the other operand's type; for an
// integer type it must be exact (GraphError).
Value pow(Located a, double b);
Value maximum(Located a, double b);
Value minimum(Located a, double b);
Value equal(Located a, double b);
Value not_equal(Located a, double b);
Value less(Located a, double b);
Value less_equal(Located a, double b);
Value greater(Located a, double b);
Value greater_equal(Located a, double b);
Value select(Located condition, Value a, double b);
Value select(Located condition, double a, Value b);

Value operator+(Located a, Value b);
Value operator-(Located a, Value b);
Value operator*(Located a, Value b);
Value operator/(Located a, Value b);
Value operator-(Located x);
Value operator+(Located a, double b);
Value operator-(Located a, double b);
Value operator*(Located a, double b);
Value operator/(Located a, double b);
Value operator+(double a, Located b);
Value operator-(double a, Located b);
Value operator*(double a, Located b);
Value operator/(double a, Located b);

}  // namespace adjoint
