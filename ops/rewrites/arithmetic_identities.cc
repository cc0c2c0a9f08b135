// Exact identities of elementwise ops.
#include <cmath>

#include "ops/elementwise.h"
#include "ops/rewrites/identities.h"
#include "ops/rewrites/match.h"

namespace adjoint {
namespace {

Value a(Site s) { return s.operands[0]; }
Value b(Site s) { return s.operands[1]; }

// The first operand where the second is neutral; for commutative ops, `either` of them.
using Neutral = bool (*)(Value);
Value without(Site s, Neutral neutral) { return neutral(b(s)) ? fit(s, a(s)) : Value(); }
Value without_either(Site s, Neutral neutral) {
  if (neutral(b(s))) return fit(s, a(s));
  return neutral(a(s)) ? fit(s, b(s)) : Value();
}

bool is_one(Value v) { return is_uniform(v, 1); }
bool is_minus_one(Value v) { return is_uniform(v, -1); }

Value mul_minus_one(Site s) {
  if (is_minus_one(b(s))) return fit(s, neg(a(s)));
  return is_minus_one(a(s)) ? fit(s, neg(b(s))) : Value();
}

Value add_neg(Site s) {
  if (is(b(s), kNeg)) return a(s) - operand(b(s));
  return is(a(s), kNeg) ? b(s) - operand(a(s)) : Value();
}

Value neg_neg_pair(Site s, Value (*build)(Located, Value)) {
  return is(a(s), kNeg) && is(b(s), kNeg) ? build(operand(a(s)), operand(b(s))) : Value();
}

// A power of two has an exact reciprocal, and both forms round the same number.
Value div_power_of_two(Site s) {
  const auto divisor = uniform(b(s));
  if (!is_float(a(s).dtype()) || !divisor) return {};
  int exponent = 0;
  if (std::abs(std::frexp(*divisor, &exponent)) != 0.5 || *divisor == 1) return {};
  const Literal inverse = Literal::scalar(a(s).dtype(), 1 / *divisor);
  // Infinite or subnormal reciprocals are left alone: flushing them to zero would show.
  if (inverse.at(0) != 1 / *divisor || std::abs(exponent) > 13) return {};
  return fit(s, a(s) * constant(s.block, inverse));
}

bool is_mirrored(Value v) { return is(v, kNeg) || is(v, kAbs); }

// Whether every value of the type `from` is one of `to`.
bool holds_all(DType from, DType to) {
  if (from == to || from == DType::boolean) return true;
  if (from == DType::u8) return to != DType::boolean;
  if (from == DType::i32) return to == DType::i64 || to == DType::f64;
  if (from == DType::f32) return to == DType::f64;
  if (from == DType::f16 || from == DType::bf16) return to == DType::f32 || to == DType::f64;
  return false;
}

// A detour through a type that loses nothing. From integer by float to integer does not count:
// floats saturate where integers wrap.
Value cast_cast(Site s) {
  if (!is(a(s), kCast)) return {};
  const Value x = operand(a(s));
  const DType from = x.dtype(), through = a(s).dtype(), to = s.node.types[0].dtype;
  if (!holds_all(from, through)) return {};
  if (is_integer(from) && is_float(through) && is_integer(to) && !holds_all(from, to)) return {};
  return from == to ? x : cast(x, to);
}

Value select_constant(Site s) {
  const auto condition = uniform(a(s));
  if (!condition) return {};
  return fit(s, s.operands[*condition != 0 ? 1 : 2]);
}

Value same_twice(Site s) { return a(s) == b(s) ? a(s) : Value(); }
Value idempotent(Site s) { return a(s).node().op == s.node.op ? a(s) : Value(); }

// An elementwise op does not care whether its operands were broadcast before; the fewer elements
// it works on the better.
Value broadcast_late(Site s) {
  std::vector<Value> operands(s.operands.begin(), s.operands.end());
  bool found = false;
  for (Value& v : operands) {
    for (; is(v, kBroadcastTo); found = true) v = operand(v);
  }
  if (!found) return {};
  return fit(s, build(*s.node.op, operands, s.node.attributes, std::source_location::current()));
}

constexpr Identity kIdentities[] = {
    {"neg_neg", "neg(neg(x)) = x", &kNeg,
     [](Site s) { return is(a(s), kNeg) ? operand(a(s)) : Value(); }},
    {"add_zero", "x + -0 = x (x + 0 of integers)", &kAdd,
     [](Site s) { return without_either(s, is_additive_zero); }},
    {"sub_zero", "x - 0 = x", &kSub, [](Site s) { return without(s, is_positive_zero); }},
    {"mul_one", "x * 1 = x", &kMul, [](Site s) { return without_either(s, is_one); }},
    {"div_one", "x / 1 = x", &kDiv, [](Site s) { return without(s, is_one); }},
    {"mul_minus_one", "x * -1 = -x", &kMul, mul_minus_one},
    {"add_neg", "x + -y = x - y", &kAdd, add_neg},
    {"sub_neg", "x - -y = x + y", &kSub,
     [](Site s) { return is(b(s), kNeg) ? a(s) + operand(b(s)) : Value(); }},
    {"neg_sub", "-(x - y) = y - x for integers", &kNeg,
     [](Site s) {
       if (!is_integer(a(s).dtype()) || !is(a(s), kSub)) return Value();
       return operand(a(s), 1) - operand(a(s), 0);
     }},
    {"mul_neg_neg", "-x * -y = x * y", &kMul, [](Site s) { return neg_neg_pair(s, mul); }},
    {"div_neg_neg", "-x / -y = x / y for floats", &kDiv,
     [](Site s) { return is_float(a(s).dtype()) ? neg_neg_pair(s, div) : Value(); }},
    {"div_power_of_two", "x / 2^k = x * 2^-k", &kDiv, div_power_of_two},
    {"mul_self", "x * x = square(x)", &kMul,
     [](Site s) { return a(s) == b(s) ? square(a(s)) : Value(); }},
    {"square_neg", "square(-x) = square(|x|) = square(x)", &kSquare,
     [](Site s) { return is_mirrored(a(s)) ? square(operand(a(s))) : Value(); }},
    {"abs_neg", "|-x| = |x|", &kAbs,
     [](Site s) { return is(a(s), kNeg) ? abs(operand(a(s))) : Value(); }},
    {"abs_abs", "||x|| = |x|", &kAbs, idempotent},
    {"relu_relu", "relu(relu(x)) = relu(x)", &kRelu, idempotent},
    {"floor_floor", "floor(floor(x)) = floor(x)", &kFloor, idempotent},
    {"sign_sign", "sign(sign(x)) = sign(x)", &kSign, idempotent},
    {"maximum_self", "maximum(x, x) = x", &kMaximum, same_twice},
    {"minimum_self", "minimum(x, x) = x", &kMinimum, same_twice},
    {"and_self", "p and p = p", &kLogicalAnd, same_twice},
    {"or_self", "p or p = p", &kLogicalOr, same_twice},
    {"not_not", "not not p = p", &kLogicalNot,
     [](Site s) { return is(a(s), kLogicalNot) ? operand(a(s)) : Value(); }},
    {"not_equal", "not (x == y) = x != y", &kLogicalNot,
     [](Site s) {
       return is(a(s), kEqual) ? not_equal(operand(a(s)), operand(a(s), 1)) : Value();
     }},
    {"clamp_none", "clamp(x, -inf, inf) = x", &kClamp,
     [](Site s) {
       const auto& [low, high] = s.node.attributes.get<ClampAttributes>();
       return std::isinf(low) && low < 0 && std::isinf(high) && high > 0 ? a(s) : Value();
     }},
    {"cast_same", "cast(x) = x to its own type", &kCast,
     [](Site s) { return a(s).type() == s.node.types[0] ? a(s) : Value(); }},
    {"cast_cast", "cast(cast(x)) = cast(x) where the first loses nothing", &kCast, cast_cast},
    {"stop_gradient", "stop_gradient(x) = x", &kStopGradient, a},
    {"select_constant", "select(true, x, y) = x, select(false, x, y) = y", &kSelect,
     select_constant},
    {"select_same", "select(p, x, x) = x", &kSelect,
     [](Site s) { return b(s) == s.operands[2] ? fit(s, b(s)) : Value(); }},
    {"select_not", "select(not p, x, y) = select(p, y, x)", &kSelect,
     [](Site s) {
       return is(a(s), kLogicalNot) ? select(operand(a(s)), s.operands[2], b(s)) : Value();
     }},
    {"broadcast_late", "f(broadcast_to(x), y) = f(x, y), broadcast afterwards if need be", nullptr,
     broadcast_late},
};

}  // namespace

std::span<const Identity> arithmetic_identities() { return kIdentities; }

}  // namespace adjoint
