#include "tests/op_cases/op_case.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>

namespace adjoint::testing {
namespace {

using oracle::Real;

Real uniform_value(const Domain& domain, std::mt19937_64& random) {
  std::uniform_real_distribution<double> distribution(domain.low, domain.high);
  for (;;) {
    const double value = distribution(random);
    const bool near = std::any_of(domain.points.begin(), domain.points.end(), [&](double point) {
      return std::fabs(value - point) < domain.margin;
    });
    if (!near) return value;
  }
}

// 4 / n apart, a tenth of that moved about, in random order.
std::vector<Real> distinct_values(int64_t n, std::mt19937_64& random) {
  std::vector<Real> values(n);
  std::uniform_real_distribution<double> jitter(-0.1, 0.1);
  for (int64_t i = 0; i < n; ++i) values[i] = -2 + 4 * (i + 0.5 + jitter(random)) / n;
  std::shuffle(values.begin(), values.end(), random);
  return values;
}

}  // namespace

Domain uniform(double low, double high) { return {.low = low, .high = high}; }
Domain away_from(std::vector<double> kinks, double low, double high) {
  return {.low = low, .high = high, .points = std::move(kinks)};
}
Domain positive() { return uniform(0.5, 2); }
Domain integers(int64_t low, int64_t high) {
  return {.kind = Domain::Kind::integers,
          .low = static_cast<double>(low),
          .high = static_cast<double>(high)};
}
Domain booleans() { return integers(0, 1); }
Domain distinct() { return {.kind = Domain::Kind::distinct}; }
Domain listed(std::vector<double> values) {
  return {.kind = Domain::Kind::listed, .points = std::move(values)};
}
Domain specials() {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  return listed({0.0, -0.0, 1, -1, inf, -inf, nan, 1e4, -1e4, 1e-4, -1e-4, 0.5, -0.5});
}
Domain keys() { return integers(-(int64_t{1} << 52), int64_t{1} << 52); }

OpCase exact_case(std::string op, std::string name, std::vector<Operand> operands,
                  std::function<Values(const Build&)> build, std::vector<std::string> results) {
  return {.op = std::move(op),
          .name = std::move(name),
          .operands = std::move(operands),
          .build = std::move(build),
          .results = std::move(results),
          .gradient = false,
          .second_order = false,
          .fixed = true};
}

const Cases& all_cases() {
  static const Cases kCases = [] {
    Cases all;
    for (auto* family :
         {elementwise_cases, shape_cases, indexing_cases, reduce_cases, linalg_cases, conv_cases,
          pool_cases, norm_cases, loss_cases, random_cases, region_cases, rank_cases}) {
      Cases cases = family();
      all.insert(all.end(), cases.begin(), cases.end());
    }
    return all;
  }();
  return kCases;
}

std::vector<Type> operand_types(const OpCase& op_case, DType dtype, int64_t batch) {
  std::vector<Type> types;
  for (const Operand& operand : op_case.operands) {
    Type type = Type::parse(operand.type);
    if (type.dtype == DType::f32 && !op_case.fixed) type.dtype = dtype;
    if (batch > 0) type.shape = type.shape.substitute({{"b", batch}});
    types.push_back(type);
  }
  return types;
}

oracle::Tensor sample(const Domain& domain, const Type& type, uint64_t seed) {
  std::mt19937_64 random(seed);
  oracle::Tensor tensor = oracle::filled(type.dtype, oracle::numbers(type.shape), 0);
  const int64_t n = tensor.size();
  if (domain.kind == Domain::Kind::distinct) tensor.values = distinct_values(n, random);
  std::uniform_int_distribution<int64_t> integer(static_cast<int64_t>(domain.low),
                                                 static_cast<int64_t>(domain.high));
  for (int64_t i = 0; i < n; ++i) {
    Real& value = tensor.values[i];
    if (domain.kind == Domain::Kind::uniform) value = uniform_value(domain, random);
    if (domain.kind == Domain::Kind::integers) value = integer(random);
    if (domain.kind == Domain::Kind::listed)
      value = domain.points[(i + seed) % domain.points.size()];
    value = oracle::converted(DType::f64, type.dtype, value);
  }
  return tensor;
}

std::vector<oracle::Tensor> sample(const OpCase& op_case, DType dtype, int64_t batch, int sample) {
  const std::vector<Type> types = operand_types(op_case, dtype, batch);
  std::vector<oracle::Tensor> values;
  // Case and sample alone choose the values; the listed ones of the operands move past each other.
  const uint64_t seed = std::hash<std::string>{}(op_case.title()) + 101 * sample;
  for (size_t i = 0; i < types.size(); ++i) {
    values.push_back(
        testing::sample(op_case.operands[i].domain, types[i], seed + i * (sample + 1)));
  }
  return values;
}

}  // namespace adjoint::testing
