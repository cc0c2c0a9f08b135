// Identities of real numbers that floats break: -0, infinity and NaN, or a last bit of rounding.
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/rewrites/identities.h"
#include "ops/rewrites/match.h"

namespace adjoint {
namespace {

Value a(Site s) { return s.operands[0]; }
Value b(Site s) { return s.operands[1]; }

bool is_zero(Value v) { return is_uniform(v, 0); }

Value filled(Site s, double value) { return full(s.block, s.node.types[0], value); }

Value add_zero(Site s) {
  if (is_zero(b(s))) return fit(s, a(s));
  return is_zero(a(s)) ? fit(s, b(s)) : Value();
}

Value mul_zero(Site s) { return is_zero(a(s)) || is_zero(b(s)) ? filled(s, 0) : Value(); }

Value div_constant(Site s) {
  const auto divisor = uniform(b(s));
  if (!is_float(a(s).dtype()) || !divisor || *divisor == 0) return {};
  return fit(s, a(s) * constant(s.block, Literal::scalar(a(s).dtype(), 1 / *divisor)));
}

// (x * c) * d = x * (c * d); constants come on either side.
Value mul_mul(Site s) {
  if (!is_float(a(s).dtype())) return {};
  for (int outer = 0; outer < 2; ++outer) {
    const Value product = s.operands[1 - outer];
    const auto d = uniform(s.operands[outer]);
    if (!d || !is(product, kMul)) continue;
    for (int inner = 0; inner < 2; ++inner) {
      const auto c = uniform(operand(product, inner));
      if (!c) continue;
      const Literal both = Literal::scalar(a(s).dtype(), *c * *d);
      return fit(s, operand(product, 1 - inner) * constant(s.block, both));
    }
  }
  return {};
}

// The one element of a sum over axes of size 1; a sum of -0 alone may be 0.
Value sum_one(Site s) {
  const auto axes = reduced_axes(s.node.attributes.get<ReduceAttributes>(), a(s).rank());
  for (int axis : axes) {
    if (a(s).shape()[axis] != Dim(1)) return {};
  }
  return reshape(a(s), s.node.types[0].shape);
}

constexpr Identity kIdentities[] = {
    {"fast_add_zero", "x + 0 = x", &kAdd, add_zero, true},
    {"fast_sub_zero", "x - -0 = x", &kSub,
     [](Site s) { return is_zero(b(s)) ? fit(s, a(s)) : Value(); }, true},
    {"fast_zero_sub", "0 - x = -x", &kSub,
     [](Site s) { return is_zero(a(s)) ? fit(s, neg(b(s))) : Value(); }, true},
    {"fast_mul_zero", "x * 0 = 0", &kMul, mul_zero, true},
    {"fast_sub_self", "x - x = 0", &kSub,
     [](Site s) { return a(s) == b(s) ? filled(s, 0) : Value(); }, true},
    {"fast_div_self", "x / x = 1", &kDiv,
     [](Site s) { return a(s) == b(s) ? filled(s, 1) : Value(); }, true},
    {"fast_neg_sub", "-(x - y) = y - x", &kNeg,
     [](Site s) { return is(a(s), kSub) ? operand(a(s), 1) - operand(a(s)) : Value(); }, true},
    {"fast_div_constant", "x / c = x * (1 / c)", &kDiv, div_constant, true},
    {"fast_mul_mul", "(x * c) * d = x * (c * d)", &kMul, mul_mul, true},
    {"fast_exp_log", "exp(log(x)) = x", &kExp,
     [](Site s) { return is(a(s), kLog) ? operand(a(s)) : Value(); }, true},
    {"fast_log_exp", "log(exp(x)) = x", &kLog,
     [](Site s) { return is(a(s), kExp) ? operand(a(s)) : Value(); }, true},
    {"fast_sum_to_sum_to", "sum_to(sum_to(x)) = sum_to(x)", &kSumTo,
     [](Site s) {
       return is(a(s), kSumTo) ? sum_to(operand(a(s)), s.node.types[0].shape) : Value();
     },
     true},
    {"fast_sum_one", "sum(x) = reshape(x) over one element", &kSum, sum_one, true},
    {"fast_mean_one", "mean(x) = reshape(x) over one element", &kMean, sum_one, true},
};

}  // namespace

std::span<const Identity> fast_identities() { return kIdentities; }

}  // namespace adjoint
