// A reduction's cotangent goes back to every element that it came from, weighted by its share.
#include "autodiff/standard_rules.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace adjoint {
namespace {

using C = const RuleContext&;

Value x(C c) { return c.operand(0); }

std::vector<int> axes_of(C c) {
  return reduced_axes(c.attributes<ReduceAttributes>(), x(c).rank());
}

// A reduced value in a shape that broadcasts against x: with the reduced dimensions as 1, unless
// they are the first ones, which broadcasting adds by itself.
Value kept(C c, Value reduced) {
  if (c.attributes<ReduceAttributes>().keep) return reduced;
  const std::vector<int> axes = axes_of(c);
  if (axes.empty() || axes.back() == static_cast<int>(axes.size()) - 1) return reduced;
  return reshape(reduced, reduced_shape(x(c).shape(), axes, true));
}

Value dy(C c) { return kept(c, c.cotangent()); }
Value y(C c) { return kept(c, c.output()); }

// The elements that equal the extreme share it.
Value extreme_rule(C c) {
  const Value ties = cast(equal(x(c), y(c)), x(c).dtype());
  const std::vector<int> axes = axes_of(c);
  const Value count = sum(ties, {axes.begin(), axes.end()}, true);
  return ties * (dy(c) / count);
}

// The product of the others: all / x_i without zeros; the rest's product for a single zero; else 0.
Value prod_rule(C c) {
  const std::vector<int> all = axes_of(c);
  const std::vector<int64_t> axes(all.begin(), all.end());
  const Value zero = equal(x(c), 0.0);
  const Value factors = select(zero, 1.0, x(c));
  const Value is_zero = cast(zero, DType::i64);
  const Value other_zeros = sum(is_zero, axes, true) - is_zero;
  const Value others = prod(factors, axes, true) / factors;
  return dy(c) * select(equal(other_zeros, 0.0), others, 0.0);
}

}  // namespace

Value over_count(Value v, Value x, const std::vector<int>& axes) {
  const DType dtype = v.dtype();
  if (dtype == DType::f32 || dtype == DType::f64) return v / count_of(x, axes, dtype);
  return cast(cast(v, DType::f32) / count_of(x, axes, DType::f32), dtype);
}

void add_reduce_rules(RuleSet& rules) {
  rules.add(kSum, {[](C c) { return broadcast_to(dy(c), x(c).shape()); }});
  rules.add(kMean,
            {[](C c) { return broadcast_to(over_count(dy(c), x(c), axes_of(c)), x(c).shape()); }});
  rules.add(kVariance, {[](C c) {
              const std::vector<int> axes = axes_of(c);
              const Value centre = mean(x(c), {axes.begin(), axes.end()}, true);
              return over_count(2.0 * dy(c), x(c), axes) * (x(c) - centre);
            }});
  rules.add(kMax, {extreme_rule});
  rules.add(kMin, {extreme_rule});
  rules.add(kProd, {prod_rule});
  rules.add(kLogsumexp, {[](C c) { return dy(c) * exp(x(c) - y(c)); }});
  rules.add(kArgmax, {NoGradient::kPiecewiseConstant});
  rules.add(kArgmin, {NoGradient::kPiecewiseConstant});
}

}  // namespace adjoint
