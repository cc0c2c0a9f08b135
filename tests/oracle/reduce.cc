#include "ops/reduce.h"

#include <cmath>

#include "tests/oracle/oracle.h"

namespace adjoint::oracle {
namespace {

using Values = std::vector<Real>;

// What one reduced element is, and the bound of its error in epsilons.
struct Reduced {
  Real value = 0;
  Real error = 0;
};

// Applies `reduce` to the values that fall together, in row-major order.
template <typename Reduce>
Outputs reduce(const Tensor& x, std::vector<int64_t> axes, bool keep, DType dtype, Reduce f) {
  if (axes.empty()) {
    for (int k = 0; k < x.rank(); ++k) axes.push_back(k);
  }
  Dims kept = x.dims;
  for (int64_t axis : axes) kept[axis] = 1;
  std::vector<Values> groups(count(kept));
  for_each_index(x.dims,
                 [&](const Index& i) { groups[broadcast_offset(kept, i)].push_back(x.at(i)); });
  Tensor y{dtype, {}, {}};
  for (int k = 0; k < x.rank(); ++k) {
    bool reduced = false;
    for (int64_t axis : axes) reduced = reduced || axis == k;
    if (!reduced || keep) y.dims.push_back(kept[k]);
  }
  for (const Values& group : groups) {
    const Reduced result = f(group);
    y.values.push_back(result.value);
    y.error.push_back(result.error);
  }
  return {y};
}

template <typename Reduce>
Function reduction(Reduce f) {
  return [f](const Call& call) {
    const Tensor& x = call.input(0);
    const auto& a = call.attributes<ReduceAttributes>();
    return reduce(x, a.axes, a.keep, x.dtype,
                  [&](const Values& values) { return f(x.dtype, values); });
  };
}

Reduced sum_of(DType dtype, const Values& values) {
  Reduced sum;
  for (Real value : values) {
    sum.value += value;
    if (!is_float(dtype)) sum.value = rounded(dtype, sum.value);
    sum.error += std::fabs(value) * values.size();
  }
  return sum;
}

Reduced mean_of(DType dtype, const Values& values) {
  const Reduced sum = sum_of(dtype, values);
  const Real n = values.size();
  return {sum.value / n, sum.error / n + kUlps * std::fabs(sum.value / n)};
}

Reduced prod_of(DType dtype, const Values& values) {
  if (!is_float(dtype)) {
    uint64_t product = 1;  // modulo 2^64, of which the type keeps the lower bits
    for (Real value : values) product *= static_cast<uint64_t>(static_cast<int64_t>(value));
    return {rounded(dtype, static_cast<int64_t>(product))};
  }
  Real product = 1;
  for (Real value : values) product *= value;
  return {product, values.size() * std::fabs(product)};
}

Real lowest(DType dtype) { return converted(DType::f64, dtype, -INFINITY); }
Real highest(DType dtype) { return converted(DType::f64, dtype, INFINITY); }

Reduced max_of(DType dtype, const Values& values) {
  Real best = is_float(dtype) ? -INFINITY : lowest(dtype);
  for (Real value : values) {
    if (std::isnan(value)) return {NAN};
    if (value > best) best = value;
  }
  return {best};
}

Reduced min_of(DType dtype, const Values& values) {
  Real best = is_float(dtype) ? INFINITY : highest(dtype);
  for (Real value : values) {
    if (std::isnan(value)) return {NAN};
    if (value < best) best = value;
  }
  return {best};
}

// Two passes; the mean's own rounding enters squared, since the deviations add up to nothing.
Reduced variance_of(DType dtype, const Values& values) {
  const Real n = values.size();
  const Real mean = mean_of(dtype, values).value;
  Real sum = 0, magnitude = 0;
  for (Real value : values) {
    sum += (value - mean) * (value - mean);
    magnitude += std::fabs(value);
  }
  const Real eps = epsilon(dtype == DType::f64 ? DType::f64 : DType::f32);
  return {sum / n, (n + kUlps) * sum / n + eps * magnitude * magnitude};
}

Reduced logsumexp_of(DType dtype, const Values& values) {
  const Real highest = max_of(dtype, values).value;
  if (!std::isfinite(highest)) return {highest};
  Real sum = 0;
  for (Real value : values) sum += std::exp(value - highest);
  const Real result = highest + std::log(sum);
  return {result, values.size() + kUlps * (std::fabs(highest) + std::fabs(result) + 1)};
}

// The first place whose value beats all others; NaN beats numbers.
Function arg_reduction(bool (*beats)(Real, Real)) {
  return [beats](const Call& call) {
    const auto& a = call.attributes<ArgReduceAttributes>();
    return reduce(call.input(0), {a.axis}, a.keep, DType::i64, [&](const Values& values) {
      size_t best = 0;
      for (size_t i = 1; i < values.size(); ++i) {
        if (std::isnan(values[best])) break;
        if (std::isnan(values[i]) || beats(values[i], values[best])) best = i;
      }
      return Reduced{Real(best)};
    });
  };
}

}  // namespace

void add_reduce(Functions& f) {
  f["sum"] = reduction(sum_of);
  f["mean"] = reduction(mean_of);
  f["max"] = reduction(max_of);
  f["min"] = reduction(min_of);
  f["prod"] = reduction(prod_of);
  f["variance"] = reduction(variance_of);
  f["logsumexp"] = reduction(logsumexp_of);
  f["argmax"] = arg_reduction([](Real a, Real b) { return a > b; });
  f["argmin"] = arg_reduction([](Real a, Real b) { return a < b; });
}

}  // namespace adjoint::oracle
