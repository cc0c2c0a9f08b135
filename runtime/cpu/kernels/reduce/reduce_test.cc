// Reductions against plain loops in double, over all subsets of the axes.
#include "ops/reduce.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "ops/shape.h"
#include "runtime/cpu/kernels/region/node_runner.h"

namespace adjoint::cpu {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// The elements that each result is reduced from, in order, by walking over all indices.
std::vector<std::vector<double>> groups_of(const Literal& x, const std::vector<int64_t>& axes) {
  const std::vector<int64_t>& dims = x.dims();
  auto reduced = [&](size_t axis) {
    return axes.empty() || std::find(axes.begin(), axes.end(), int64_t(axis)) != axes.end();
  };
  int64_t results = 1;
  for (size_t axis = 0; axis < dims.size(); ++axis) results *= reduced(axis) ? 1 : dims[axis];
  std::vector<std::vector<double>> groups(results);
  for (int64_t i = 0; i < x.element_count(); ++i) {
    int64_t rest = i, place = 0, stride = 1;
    for (size_t axis = dims.size(); axis-- > 0; rest /= dims[axis]) {
      if (reduced(axis)) continue;
      place += rest % dims[axis] * stride;
      stride *= dims[axis];
    }
    groups[place].push_back(x.at(i));
  }
  return groups;
}

double sum_of(const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0); }
double mean_of(const std::vector<double>& v) { return sum_of(v) / v.size(); }
double prod_of(const std::vector<double>& v) {
  return std::accumulate(v.begin(), v.end(), 1.0, [](double a, double b) { return a * b; });
}
double max_of(const std::vector<double>& v) {
  double best = -kInf;
  for (double x : v) best = std::isnan(x) || x > best ? x : best;
  return std::any_of(v.begin(), v.end(), [](double x) { return std::isnan(x); }) ? kNaN : best;
}
double min_of(const std::vector<double>& v) {
  std::vector<double> negative;
  for (double x : v) negative.push_back(-x);
  return -max_of(negative);
}
double variance_of(const std::vector<double>& v) {
  const double center = mean_of(v);
  double squares = 0;
  for (double x : v) squares += (x - center) * (x - center);
  return squares / v.size();
}
double logsumexp_of(const std::vector<double>& v) {
  const double top = std::isfinite(max_of(v)) ? max_of(v) : 0;
  double total = 0;
  for (double x : v) total += std::exp(x - top);
  return std::log(total) + top;
}
double magnitude_of(const std::vector<double>& v) {
  double total = 0;
  for (double x : v) total += std::fabs(x);
  return total;
}

struct Kind {
  const char* name;
  Value (*build)(Located, std::vector<int64_t>, bool);
  double (*reduce)(const std::vector<double>&);
};
const Kind kKinds[] = {{"sum", sum, sum_of},
                       {"mean", mean, mean_of},
                       {"prod", prod, prod_of},
                       {"max", max, max_of},
                       {"min", min, min_of},
                       {"variance", variance, variance_of},
                       {"logsumexp", logsumexp, logsumexp_of}};

// Errors: a few roundings of the terms' magnitude (sums), of the result (products).
double slack_of(const Kind& kind, DType dtype, const std::vector<double>& group, double wanted) {
  const std::string name = kind.name;
  const double rounding = spacing(dtype, 1);
  if (name == "max" || name == "min") return 0;
  if (name == "prod")
    return 0.51 * spacing(dtype, wanted) + group.size() * spacing(DType::f64, wanted);
  // Sixteen-bit floats are reduced in float: only the result is rounded to their precision.
  const double within = dtype == DType::f64 ? rounding : spacing(DType::f32, 1);
  const double terms = name == "sum" ? magnitude_of(group)
                       : name == "logsumexp"
                           ? 1 + std::fabs(wanted)
                           : std::max(magnitude_of(group) / group.size(), std::fabs(wanted));
  return 0.51 * spacing(dtype, wanted) + 6 * within * terms;
}

void check(const Kind& kind, const Literal& x, const std::vector<int64_t>& axes, bool keep) {
  Block block("test");
  const Value y = kind.build(block.argument("x", x.type()), axes, keep);
  const Literal got = run_node(y, {x})[0];
  const auto groups = groups_of(x, axes);
  ASSERT_EQ(got.element_count(), std::ssize(groups));
  for (size_t i = 0; i < groups.size(); ++i) {
    const double wanted = kind.reduce(groups[i]);
    const std::string what =
        std::string(kind.name) + "(" + to_text(x.type()) + ")" + y.node().attributes.to_text();
    if (!std::isfinite(wanted)) {
      EXPECT_TRUE(is_close(x.dtype(), got.at(i), wanted, 0)) << what << " " << got.at(i);
      continue;
    }
    ASSERT_NEAR(got.at(i), wanted, slack_of(kind, x.dtype(), groups[i], wanted))
        << what << " " << i;
  }
}

// Every way that a region cuts its work: single rows and whole rows, shards of rows, of columns,
// and with accumulators of their own.
const std::vector<std::vector<int64_t>> kShapes = {
    {},          {1},          {7},           {100000},  {33000, 7},   {7, 33000}, {2, 70000},
    {300, 2000}, {40, 50, 60}, {20, 3, 1000}, {5, 1, 9}, {2, 3, 4, 5}, {3000, 24}, {64, 9, 64}};

std::vector<std::vector<int64_t>> subsets_of_axes(size_t rank) {
  std::vector<std::vector<int64_t>> subsets;
  for (unsigned bits = 0; bits < (1u << rank); ++bits) {
    std::vector<int64_t> axes;
    for (size_t axis = 0; axis < rank; ++axis) {
      if (bits >> axis & 1) axes.push_back(axis);
    }
    subsets.push_back(axes);
  }
  return subsets;
}

TEST(Reduce, FloatsOverAllSubsetsOfAxes) {
  for (const Kind& kind : kKinds) {
    for (const auto& dims : kShapes) {
      const bool product = std::string(kind.name) == "prod";
      Literal x = normal_literal(DType::f32, dims, 11);
      if (product)
        x = draw_literal(DType::f32, dims, [n = 0]() mutable { return 1 + (n++ % 11 - 5) * 1e-3; });
      for (const auto& axes : subsets_of_axes(dims.size())) check(kind, x, axes, axes.size() % 2);
    }
  }
}

TEST(Reduce, OtherFloatTypes) {
  for (DType dtype : {DType::f64, DType::bf16, DType::f16}) {
    for (const Kind& kind : kKinds) {
      for (const std::vector<int64_t>& dims :
           {std::vector<int64_t>{200, 30}, {3, 2500}, {4, 5, 6}}) {
        const Literal x =
            normal_literal(dtype, dims, 5, std::string(kind.name) == "prod" ? 0.3 : 1);
        for (const auto& axes : subsets_of_axes(dims.size())) check(kind, x, axes, false);
      }
    }
  }
}

template <typename T>
void check_integers() {
  std::mt19937_64 engine(3);
  std::vector<T> values(70 * 45);
  for (T& value : values) value = static_cast<T>(engine());
  const Literal x = Literal::of<T>({70, 45}, values);
  for (int64_t axis : {0, 1}) {
    std::vector<T> sums(axis == 0 ? 45 : 70), products(sums.size(), 1);
    std::vector<T> highest(sums.size(), std::numeric_limits<T>::lowest());
    std::vector<T> lowest(sums.size(), std::numeric_limits<T>::max());
    for (int64_t i = 0; i < 70 * 45; ++i) {
      const int64_t place = axis == 0 ? i % 45 : i / 45;
      sums[place] =
          static_cast<T>(static_cast<uint64_t>(sums[place]) + static_cast<uint64_t>(values[i]));
      products[place] =
          static_cast<T>(static_cast<uint64_t>(products[place]) * static_cast<uint64_t>(values[i]));
      highest[place] = std::max(highest[place], values[i]);
      lowest[place] = std::min(lowest[place], values[i]);
    }
    Block block("test");
    const Value v = block.argument("x", x.type());
    const std::vector<int64_t> dims = {std::ssize(sums)};
    EXPECT_EQ(run_node(sum(v, {axis}), {x})[0], Literal::of<T>(dims, sums));
    EXPECT_EQ(run_node(prod(v, {axis}), {x})[0], Literal::of<T>(dims, products));
    EXPECT_EQ(run_node(max(v, {axis}), {x})[0], Literal::of<T>(dims, highest));
    EXPECT_EQ(run_node(min(v, {axis}), {x})[0], Literal::of<T>(dims, lowest));
  }
}
TEST(Reduce, IntegersAreExactAndWrap) {
  check_integers<int32_t>();
  check_integers<int64_t>();
  check_integers<uint8_t>();
}

TEST(Reduce, OverNothing) {
  for (const std::vector<int64_t>& dims : {std::vector<int64_t>{0, 3}, {3, 0}}) {
    const Literal x = Literal::filled(DType::f32, dims, 0);
    const int64_t empty = dims[0] == 0 ? 0 : 1;
    Block block("test");
    const Value v = block.argument("x", x.type());
    const std::vector<std::pair<Value, double>> cases = {
        {sum(v, {empty}), 0},          {prod(v, {empty}), 1},    {max(v, {empty}), -kInf},
        {min(v, {empty}), kInf},       {mean(v, {empty}), kNaN}, {variance(v, {empty}), kNaN},
        {logsumexp(v, {empty}), -kInf}};
    for (const auto& [y, wanted] : cases) {
      const Literal got = run_node(y, {x})[0];
      ASSERT_EQ(got.element_count(), 3);
      for (int i = 0; i < 3; ++i)
        EXPECT_TRUE(is_close(DType::f32, got.at(i), wanted, 0)) << y.node().op->name;
      // The other axis: nothing results.
      EXPECT_EQ(run_node(sum(v, {1 - empty}), {x})[0].element_count(), 0);
    }
  }
  const Literal none = Literal::of<int32_t>({0}, {});
  Block block("test");
  const Value v = block.argument("x", none.type());
  EXPECT_EQ(run_node(max(v), {none})[0].integer_at(0), INT32_MIN);
  EXPECT_EQ(run_node(min(v), {none})[0].integer_at(0), INT32_MAX);
}

TEST(Reduce, NaNAndInfinityPropagate) {
  for (double special : {kNaN, kInf, -kInf}) {
    Literal x = draw_literal(DType::f32, {50, 40}, [&, n = 0]() mutable {
      return ++n == 50 * 20 + 7 ? special : n % 13 - 6.0;
    });
    for (const Kind& kind : kKinds) {
      if (std::string(kind.name) == "prod") continue;
      for (const auto& axes : subsets_of_axes(2)) check(kind, x, axes, false);
    }
  }
}

// Naive accumulation in float would be wrong in the second digit.
TEST(Reduce, LongSumsOfFloatsStayExact) {
  const Literal x = Literal::filled(DType::f32, {3000000}, 0.1);
  Block block("test");
  const Value v = block.argument("x", x.type());
  const double wanted = 3000000 * static_cast<double>(0.1f);
  EXPECT_NEAR(run_node(sum(v), {x})[0].at(0), wanted, 1e-6 * wanted);
  const Literal rows = Literal::filled(DType::f32, {1000000, 3}, 0.1);
  const Value w = block.argument("w", rows.type());
  EXPECT_NEAR(run_node(sum(w, {0}), {rows})[0].at(1), wanted / 3, 1e-6 * wanted);
}

TEST(Reduce, VarianceOfLargeNumbersDoesNotCancel) {
  const Literal x =
      draw_literal(DType::f32, {4000, 3}, [n = 0]() mutable { return 10000 + n++ % 5; });
  for (const auto& axes : subsets_of_axes(2)) check(kKinds[5], x, axes, false);
}

TEST(SumTo, ReversesBroadcasting) {
  const Literal x = normal_literal(DType::f32, {6, 5, 4}, 2);
  const std::vector<std::pair<Shape, std::vector<int64_t>>> cases = {
      {{4}, {0, 1}}, {{5, 1}, {0, 2}}, {{6, 1, 4}, {1}}, {{1, 1}, {0, 1, 2}}, {{}, {}}};
  for (const auto& [shape, axes] : cases) {
    Block block("test");
    const Literal got = run_node(sum_to(block.argument("x", x.type()), shape), {x})[0];
    EXPECT_EQ(got.type().shape, shape);
    const auto groups = groups_of(x, axes);
    for (size_t i = 0; i < groups.size(); ++i) EXPECT_NEAR(got.at(i), sum_of(groups[i]), 1e-5);
  }
  Block block("test");
  EXPECT_EQ(run_node(sum_to(block.argument("x", x.type()), {6, 5, 4}), {x})[0], x);
}

// The place of the first largest element, NaN before all.
int64_t first_best(const std::vector<double>& group, double sign) {
  size_t best = 0;
  for (size_t i = 1; i < group.size() && !std::isnan(group[best]); ++i) {
    if (std::isnan(group[i]) || sign * group[i] > sign * group[best]) best = i;
  }
  return best;
}

TEST(ArgReduce, FirstBestAlongEachAxis) {
  for (DType dtype :
       {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::i64, DType::u8}) {
    for (const std::vector<int64_t>& dims :
         {std::vector<int64_t>{9}, {300, 10}, {4, 7, 33}, {2, 3, 2000}, {5000, 3}}) {
      std::mt19937 engine(17);
      const Literal x = draw_literal(dtype, dims, [&]() -> double {
        const int draw = engine() % 40;
        return draw == 0 && is_float(dtype) && dims.size() == 3 ? kNaN : draw;
      });
      for (int64_t axis = 0; axis < std::ssize(dims); ++axis) {
        Block block("test");
        const Value v = block.argument("x", x.type());
        const Literal high = run_node(argmax(v, axis), {x})[0];
        const Literal low = run_node(argmin(v, axis, true), {x})[0];
        const auto groups = groups_of(x, {axis});
        for (size_t i = 0; i < groups.size(); ++i) {
          ASSERT_EQ(high.integer_at(i), first_best(groups[i], 1)) << name(dtype) << axis;
          ASSERT_EQ(low.integer_at(i), first_best(groups[i], -1)) << name(dtype) << axis;
        }
      }
    }
  }
}

}  // namespace
}  // namespace adjoint::cpu
