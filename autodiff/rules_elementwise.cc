// With y = f(x) and dy the cotangent of y. Kinks are documented in ops/elementwise.h.
#include <cmath>
#include <numbers>

#include "autodiff/standard_rules.h"
#include "ops/elementwise.h"

namespace adjoint {
namespace {

using C = const RuleContext&;

Value dy(C c) { return c.cotangent(); }
Value x(C c) { return c.operand(0); }
Value a(C c) { return c.operand(0); }
Value b(C c) { return c.operand(1); }
Value y(C c) { return c.output(); }

void add_arithmetic_rules(RuleSet& rules) {
  rules.add(kNeg, {[](C c) { return -dy(c); }});
  rules.add(kAbs, {[](C c) { return dy(c) * sign(x(c)); }});
  rules.add(kSign, {NoGradient::kPiecewiseConstant});
  rules.add(kFloor, {NoGradient::kPiecewiseConstant});
  rules.add(kSquare, {[](C c) { return dy(c) * (2.0 * x(c)); }});
  rules.add(kSqrt, {[](C c) { return dy(c) * 0.5 / y(c); }});
  rules.add(kRsqrt, {[](C c) { return dy(c) * (-0.5 * y(c) * square(y(c))); }});
  rules.add(kReciprocal, {[](C c) { return -dy(c) * square(y(c)); }});
  rules.add(kCast, {[](C c) { return cast(dy(c), x(c).dtype()); }});
  rules.add(kStopGradient, {NoGradient::kStopped});
  rules.add(kCheckFinite, {[](C c) { return dy(c); }});

  rules.add(kAdd, {dy, dy});
  rules.add(kSub, {dy, [](C c) { return -dy(c); }});
  rules.add(kMul, {[](C c) { return dy(c) * b(c); }, [](C c) { return dy(c) * a(c); }});
  rules.add(kDiv, {[](C c) { return dy(c) / b(c); }, [](C c) { return -dy(c) * (y(c) / b(c)); }});
}

// d(a^b)/da = b a^(b-1). At a = b = 0 that is 0 times infinity; another exponent makes it 0.
Value pow_base_rule(C c) {
  const Value both_zero = logical_and(equal(a(c), 0.0), equal(b(c), 0.0));
  return dy(c) * (b(c) * pow(a(c), select(both_zero, 1.0, b(c)) - 1.0));
}

// d(a^b)/db = log(a) a^b, 0 where a is 0.
Value pow_exponent_rule(C c) {
  const Value zero = equal(a(c), 0.0);
  return dy(c) * select(zero, 0.0, log(select(zero, 1.0, a(c))) * y(c));
}

void add_exponential_rules(RuleSet& rules) {
  rules.add(kExp, {[](C c) { return dy(c) * y(c); }});
  rules.add(kExpm1, {[](C c) { return dy(c) * exp(x(c)); }});
  rules.add(kLog, {[](C c) { return dy(c) / x(c); }});
  rules.add(kLog1p, {[](C c) { return dy(c) / (1.0 + x(c)); }});
  rules.add(kSin, {[](C c) { return dy(c) * cos(x(c)); }});
  rules.add(kCos, {[](C c) { return -dy(c) * sin(x(c)); }});
  rules.add(kTanh, {[](C c) { return dy(c) * (1.0 - square(y(c))); }});
  rules.add(kErf,
            {[](C c) { return dy(c) * (2 * std::numbers::inv_sqrtpi * exp(-square(x(c)))); }});
  rules.add(kPow, {pow_base_rule, pow_exponent_rule});
}

Value elu_rule(C c) {
  const double alpha = c.attributes<EluAttributes>().alpha;
  const Value positive = greater(x(c), 0.0);
  // The exponent is cut off where it is not used, so that it cannot overflow there.
  const Value slope = alpha * exp(select(positive, 0.0, x(c)));
  return select(positive, dy(c), dy(c) * slope);
}

// x Phi(x), Phi the normal distribution: the derivative is Phi(x) + x phi(x).
Value gelu_rule(C c) {
  if (!c.attributes<GeluAttributes>().approximate) {
    const Value below = 0.5 * (1.0 + erf(x(c) * (std::numbers::sqrt2 / 2)));
    const Value density = std::numbers::inv_sqrtpi / std::numbers::sqrt2 * exp(-0.5 * square(x(c)));
    return dy(c) * (below + x(c) * density);
  }
  const double k = std::sqrt(2 / std::numbers::pi);
  const Value t = tanh(k * (x(c) + 0.044715 * (x(c) * square(x(c)))));
  const Value inner = k * (1.0 + 3 * 0.044715 * square(x(c)));
  return dy(c) * (0.5 * (1.0 + t) + 0.5 * x(c) * ((1.0 - square(t)) * inner));
}

Value clamp_rule(C c) {
  const auto& [low, high] = c.attributes<ClampAttributes>();
  return select(logical_and(greater_equal(x(c), low), less_equal(x(c), high)), dy(c), 0.0);
}

void add_activation_rules(RuleSet& rules) {
  rules.add(kSigmoid, {[](C c) { return dy(c) * (y(c) * (1.0 - y(c))); }});
  rules.add(kSoftplus, {[](C c) { return dy(c) * sigmoid(x(c)); }});
  rules.add(kSilu, {[](C c) {
              const Value s = sigmoid(x(c));
              return dy(c) * (s * (1.0 + x(c) * (1.0 - s)));
            }});
  rules.add(kSoftsign, {[](C c) { return dy(c) / square(1.0 + abs(x(c))); }});
  rules.add(kRelu, {[](C c) { return relu_grad(dy(c), y(c)); }});
  rules.add(kReluGrad,
            {[](C c) { return relu_grad(dy(c), b(c)); }, NoGradient::kPiecewiseConstant});
  rules.add(kLeakyRelu, {[](C c) {
              const double slope = c.attributes<LeakyReluAttributes>().slope;
              return select(greater(x(c), 0.0), dy(c), slope * dy(c));
            }});
  rules.add(kElu, {elu_rule});
  rules.add(kGelu, {gelu_rule});
  rules.add(kClamp, {clamp_rule});
}

// dy where `self` wins over `other`, half of it at a tie (and all where either is NaN).
Value winner(C c, Value loses) {
  return select(loses, 0.0, select(equal(a(c), b(c)), 0.5 * dy(c), dy(c)));
}

void add_choice_rules(RuleSet& rules) {
  rules.add(kMaximum, {[](C c) { return winner(c, less(a(c), b(c))); },
                       [](C c) { return winner(c, greater(a(c), b(c))); }});
  rules.add(kMinimum, {[](C c) { return winner(c, greater(a(c), b(c))); },
                       [](C c) { return winner(c, less(a(c), b(c))); }});
  rules.add(kSelect, {NoGradient::kInteger, [](C c) { return select(c.operand(0), dy(c), 0.0); },
                      [](C c) { return select(c.operand(0), 0.0, dy(c)); }});
  for (const OpDef* op :
       {&kIsFinite, &kEqual, &kNotEqual, &kLess, &kLessEqual, &kGreater, &kGreaterEqual}) {
    rules.add(*op, {NoGradient::kPiecewiseConstant});
  }
  for (const OpDef* op : {&kLogicalNot, &kLogicalAnd, &kLogicalOr, &kLogicalXor}) {
    rules.add(*op, {NoGradient::kInteger});
  }
}

}  // namespace

void add_elementwise_rules(RuleSet& rules) {
  add_arithmetic_rules(rules);
  add_exponential_rules(rules);
  add_activation_rules(rules);
  add_choice_rules(rules);
}

}  // namespace adjoint
