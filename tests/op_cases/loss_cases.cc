#include <cmath>

#include "ops/loss.h"
#include "tests/op_cases/op_case.h"

namespace adjoint::testing {
namespace {

using oracle::Real;
using Builder = std::function<Values(const Build&)>;
using Loss = Value (*)(Located, Value);

Cases cross_entropy_cases() {
  const Builder sparse = [](const Build& b) -> Values {
    return {softmax_cross_entropy(b[0], b[1])};
  };
  const Builder grad = [](const Build& b) -> Values {
    return {softmax_cross_entropy_grad(b[0], b[1], b[2])};
  };
  const Builder dense = [](const Build& b) -> Values {
    return {softmax_cross_entropy_dense(b[0], b[1])};
  };
  const Domain label = integers(0, 6);
  const Operand large = {"f32[b,7]", uniform(-200, 200)};
  const Operand targets = {"f32[b,7]", uniform(0, 0.3)};
  return {
      {"softmax_cross_entropy", "rows", {{"f32[b,7]"}, {"i64[b]", label}}, sparse, {"f32[b]"}},
      {"softmax_cross_entropy", "i32", {{"f32[b,7]"}, {"i32[b]", label}}, sparse, {"f32[b]"}},
      {"softmax_cross_entropy", "u8", {{"f32[b,7]"}, {"u8[b]", label}}, sparse, {"f32[b]"}},
      {"softmax_cross_entropy",
       "rank3",
       {{"f32[b,2,7]"}, {"i64[b,2]", label}},
       sparse,
       {"f32[b,2]"}},
      {"softmax_cross_entropy", "vector", {{"f32[7]"}, {"i64[]", label}}, sparse, {"f32[]"}},
      {"softmax_cross_entropy", "large", {large, {"i64[b]", label}}, sparse, {"f32[b]"}},
      {"softmax_cross_entropy", "no_rows", {{"f32[0,7]"}, {"i64[0]", label}}, sparse, {"f32[0]"}},
      {"softmax_cross_entropy",
       "one_class",
       {{"f32[b,1]"}, {"i64[b]", integers(0, 0)}},
       sparse,
       {"f32[b]"}},
      {"softmax_cross_entropy_grad",
       "rows",
       {{"f32[b]"}, {"f32[b,7]"}, {"i64[b]", label}},
       grad,
       {"f32[b,7]"}},
      {"softmax_cross_entropy_grad",
       "rank3",
       {{"f32[b,2]"}, {"f32[b,2,7]"}, {"i32[b,2]", label}},
       grad,
       {"f32[b,2,7]"}},
      {"softmax_cross_entropy_grad",
       "vector",
       {{"f32[]"}, {"f32[7]"}, {"i64[]", label}},
       grad,
       {"f32[7]"}},
      {"softmax_cross_entropy_dense", "rows", {{"f32[b,7]"}, targets}, dense, {"f32[b]"}},
      {"softmax_cross_entropy_dense",
       "any_targets",
       {{"f32[b,2,7]"}, {"f32[b,2,7]"}},
       dense,
       {"f32[b,2]"}},
      {"softmax_cross_entropy_dense", "vector", {{"f32[7]"}, {"f32[7]"}}, dense, {"f32[]"}},
      {"softmax_cross_entropy_dense", "no_rows", {{"f32[0,7]"}, {"f32[0,7]"}}, dense, {"f32[0]"}},
  };
}

// The mean over all pairs of elements, which broadcast; what the builders' nodes should come to.
std::function<oracle::Outputs(std::span<const oracle::Tensor>)> mean_of(Real (*f)(Real, Real)) {
  return [f](std::span<const oracle::Tensor> in) -> oracle::Outputs {
    const oracle::Tensor &a = in[0], &b = in[1];
    Real sum = 0, n = 0;
    oracle::for_each_index(oracle::broadcast(a.dims, b.dims), [&](const oracle::Index& i) {
      sum += f(a.values[oracle::broadcast_offset(a.dims, i)],
               b.values[oracle::broadcast_offset(b.dims, i)]);
      n += 1;
    });
    return {oracle::filled(a.dtype, {}, sum / n)};
  };
}

Real squared(Real p, Real t) { return (p - t) * (p - t); }
Real halved(Real p, Real t) { return (p - t) * (p - t) / 2; }
Real distance(Real p, Real t) { return std::fabs(p - t); }
Real binary(Real x, Real t) {
  const Real p = 1 / (1 + std::exp(-x));
  return -t * std::log(p) - (1 - t) * std::log(1 - p);
}

// These builders make primitive nodes; they are listed under the op that ends them.
Cases composite_cases() {
  Cases cases;
  struct {
    const char* name;
    Loss build;
    Real (*f)(Real, Real);
    Domain target;
  } const losses[] = {{"squared_error", mean_squared_error, squared, uniform(-2, 2)},
                      {"l1_loss", l1_loss, distance, uniform(3, 4)},
                      {"l2_loss", l2_loss, halved, uniform(-2, 2)},
                      {"binary", binary_cross_entropy_with_logits, binary, uniform(0, 1)}};
  for (const auto& loss : losses) {
    const Builder build = [f = loss.build](const Build& b) -> Values { return {f(b[0], b[1])}; };
    for (const auto& [shape, other] :
         {std::pair{"f32[b,5]", "f32[b,5]"}, {"f32[b,2,3]", "f32[3]"}, {"f32[]", "f32[]"}}) {
      cases.push_back({.op = "mean",
                       .name = loss.name + std::string("_") + std::to_string(cases.size() % 3),
                       .operands = {{shape}, {other, loss.target}},
                       .build = build,
                       .results = {"f32[]"},
                       .oracle = mean_of(loss.f)});
    }
  }
  return cases;
}

}  // namespace

Cases loss_cases() {
  Cases cases = cross_entropy_cases();
  for (OpCase& op_case : composite_cases()) cases.push_back(std::move(op_case));
  return cases;
}

}  // namespace adjoint::testing
