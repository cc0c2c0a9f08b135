// Every elementwise op on all its element types against the same formula in double: all pairs of
// special values and random ones, broadcast against each other.
#include "ops/elementwise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>

#include "runtime/cpu/kernels/elementwise/micro_kernels.h"
#include "runtime/cpu/kernels/region/node_runner.h"

namespace adjoint::cpu {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double maximum_of(double a, double b) {
  return std::isnan(a) || std::isnan(b) ? kNaN : std::max(a, b);
}
double minimum_of(double a, double b) {
  return std::isnan(a) || std::isnan(b) ? kNaN : std::min(a, b);
}
double sign_of(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
double softplus_of(double x) {
  return std::isnan(x) ? x : std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
}
double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

struct Case {
  std::string name;
  std::function<Value(const std::vector<Value>&)> build;
  std::function<double(double, double)> formula;
  double units;         // in the last place
  double absolute = 0;  // or an absolute error of this many units at 1
};

using Args = const std::vector<Value>&;
const std::vector<Case>& unary_cases() {
  static const std::vector<Case> cases = {
      {"neg", [](Args v) { return neg(v[0]); }, [](double x, double) { return -x; }, 0},
      {"abs", [](Args v) { return abs(v[0]); }, [](double x, double) { return std::fabs(x); }, 0},
      {"sign", [](Args v) { return sign(v[0]); }, [](double x, double) { return sign_of(x); }, 0},
      {"square", [](Args v) { return square(v[0]); }, [](double x, double) { return x * x; }, 0.5},
      {"exp", [](Args v) { return exp(v[0]); }, [](double x, double) { return std::exp(x); }, 1},
      {"expm1", [](Args v) { return expm1(v[0]); }, [](double x, double) { return std::expm1(x); },
       2},
      {"log", [](Args v) { return log(v[0]); }, [](double x, double) { return std::log(x); }, 1},
      {"log1p", [](Args v) { return log1p(v[0]); }, [](double x, double) { return std::log1p(x); },
       2},
      {"sqrt", [](Args v) { return sqrt(v[0]); }, [](double x, double) { return std::sqrt(x); },
       0.5},
      {"rsqrt", [](Args v) { return rsqrt(v[0]); },
       [](double x, double) { return 1 / std::sqrt(x); }, 1.5},
      {"reciprocal", [](Args v) { return reciprocal(v[0]); },
       [](double x, double) { return 1 / x; }, 0.5},
      {"sin", [](Args v) { return sin(v[0]); }, [](double x, double) { return std::sin(x); }, 0.51},
      {"cos", [](Args v) { return cos(v[0]); }, [](double x, double) { return std::cos(x); }, 0.51},
      {"tanh", [](Args v) { return tanh(v[0]); }, [](double x, double) { return std::tanh(x); }, 3},
      {"sigmoid", [](Args v) { return sigmoid(v[0]); },
       [](double x, double) { return sigmoid_of(x); }, 3},
      {"softplus", [](Args v) { return softplus(v[0]); },
       [](double x, double) { return softplus_of(x); }, 3},
      {"relu", [](Args v) { return relu(v[0]); },
       [](double x, double) { return std::isnan(x) ? x : std::max(x, 0.0); }, 0},
      {"silu", [](Args v) { return silu(v[0]); },
       [](double x, double) { return x * sigmoid_of(x); }, 4, 1e-30},
      {"erf", [](Args v) { return erf(v[0]); }, [](double x, double) { return std::erf(x); }, 0.51},
      {"floor", [](Args v) { return floor(v[0]); }, [](double x, double) { return std::floor(x); },
       0},
      {"leaky_relu", [](Args v) { return leaky_relu(v[0], 0.25); },
       [](double x, double) { return x > 0 ? x : 0.25 * x; }, 0.5},
      {"elu", [](Args v) { return elu(v[0], 1.5); },
       [](double x, double) { return x > 0 ? x : 1.5 * std::expm1(x); }, 3},
      {"gelu", [](Args v) { return gelu(v[0]); },
       [](double x, double) { return x * 0.5 * std::erfc(-x * M_SQRT1_2); }, 1, 0.1},
      {"gelu_tanh", [](Args v) { return gelu(v[0], true); },
       [](double x, double) {
         return x * 0.5 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
       },
       6, 8},
      {"clamp", [](Args v) { return clamp(v[0], -0.5, 2); },
       [](double x, double) { return std::isnan(x) ? x : std::min(std::max(x, -0.5), 2.0); }, 0},
      {"is_finite", [](Args v) { return is_finite(v[0]); },
       [](double x, double) { return std::isfinite(x) ? 1.0 : 0.0; }, 0},
  };
  return cases;
}
const std::vector<Case>& binary_cases() {
  static const std::vector<Case> cases = {
      {"add", [](Args v) { return add(v[0], v[1]); }, [](double a, double b) { return a + b; },
       0.5},
      {"sub", [](Args v) { return sub(v[0], v[1]); }, [](double a, double b) { return a - b; },
       0.5},
      {"mul", [](Args v) { return mul(v[0], v[1]); }, [](double a, double b) { return a * b; },
       0.5},
      {"div", [](Args v) { return div(v[0], v[1]); }, [](double a, double b) { return a / b; },
       0.5},
      {"pow", [](Args v) { return pow(v[0], v[1]); },
       [](double a, double b) { return std::pow(a, b); }, 0.51},
      {"maximum", [](Args v) { return maximum(v[0], v[1]); }, maximum_of, 0},
      {"minimum", [](Args v) { return minimum(v[0], v[1]); }, minimum_of, 0},
      {"relu_grad", [](Args v) { return relu_grad(v[0], v[1]); },
       [](double a, double b) { return b > 0 ? a : 0; }, 0},
      {"equal", [](Args v) { return equal(v[0], v[1]); }, [](double a, double b) { return a == b; },
       0},
      {"not_equal", [](Args v) { return not_equal(v[0], v[1]); },
       [](double a, double b) { return a != b; }, 0},
      {"less", [](Args v) { return less(v[0], v[1]); }, [](double a, double b) { return a < b; },
       0},
      {"less_equal", [](Args v) { return less_equal(v[0], v[1]); },
       [](double a, double b) { return a <= b; }, 0},
      {"greater", [](Args v) { return greater(v[0], v[1]); },
       [](double a, double b) { return a > b; }, 0},
      {"greater_equal", [](Args v) { return greater_equal(v[0], v[1]); },
       [](double a, double b) { return a >= b; }, 0},
      {"select", [](Args v) { return select(less(v[0], v[1]), v[0], v[1]); }, nullptr, 0},
  };
  return cases;
}

std::vector<double> float_samples(DType dtype) {
  std::vector<double> samples = {0.0,  -0.0,     1,    -1,     2,      -2,   0.5,  -0.5,
                                 3,    -3,       kInf, -kInf,  kNaN,   1e-3, 1e-7, -1e-7,
                                 87.0, -87.0,    89.0, -104.5, 1e4,    -1e4, 1e30, 7.5,
                                 -7.5, 16777217, 0.1,  -0.99,  1.0001, 20.3};
  samples.push_back(largest(dtype));
  samples.push_back(spacing(dtype, 0));  // the least subnormal
  samples.push_back(-3 * spacing(dtype, 0));
  std::mt19937 engine(7);
  std::normal_distribution<double> normal(0, 3);
  for (int i = 0; i < 40; ++i) samples.push_back(normal(engine));
  return samples;
}

Literal column(const Literal& row) {
  const auto* data = row.data();
  return Literal(row.dtype(), {row.dims()[0], 1}, {data, data + row.byte_count()});
}

Literal literal_of(DType dtype, const std::vector<double>& values) {
  size_t next = 0;
  return draw_literal(dtype, {static_cast<int64_t>(values.size())}, [&] { return values[next++]; });
}

// Slack for 16-bit floats is half a unit of their own: they are computed in float.
double units_of(const Case& test, DType dtype) {
  return dtype == DType::f32 ? test.units : dtype == DType::f64 ? test.units + 1.5 : 0.51;
}

class FloatOps : public testing::TestWithParam<DType> {};

TEST_P(FloatOps, UnaryOpsAgreeWithTheirFormulas) {
  const DType dtype = GetParam();
  const Literal x = literal_of(dtype, float_samples(dtype));
  for (const Case& test : unary_cases()) {
    Block block("test");
    const Value y = test.build({block.argument("x", x.type())});
    const Literal got = run_node(y, {x})[0];
    for (int64_t i = 0; i < x.element_count(); ++i) {
      const double wanted = test.formula(x.at(i), 0);
      // A cancelling formula is as exact as its largest term.
      const double absolute =
          test.absolute * spacing(dtype, std::max(1.0, std::fabs(x.at(i))) * 0.5);
      EXPECT_TRUE(is_close(got.dtype() == DType::boolean ? DType::f64 : dtype, got.at(i), wanted,
                           units_of(test, dtype)) ||
                  std::fabs(got.at(i) - wanted) <= absolute)
          << test.name << "(" << x.at(i) << ") in " << name(dtype) << ": " << got.at(i) << ", not "
          << wanted;
      if (wanted == 0 && got.at(i) == 0 && test.name != "relu") {
        EXPECT_EQ(std::signbit(wanted), std::signbit(got.at(i))) << test.name << " " << x.at(i);
      }
    }
  }
}

TEST_P(FloatOps, BinaryOpsAgreeOnAllPairs) {
  const DType dtype = GetParam();
  const Literal b = literal_of(dtype, float_samples(dtype));
  const Literal a = column(b);
  const int64_t n = b.element_count();
  for (const Case& test : binary_cases()) {
    if (!test.formula) continue;
    Block block("test");
    const Value y = test.build({block.argument("a", a.type()), block.argument("b", b.type())});
    const Literal got = run_node(y, {a, b})[0];
    for (int64_t i = 0; i < n * n; ++i) {
      const double wanted = test.formula(a.at(i / n), b.at(i % n));
      EXPECT_TRUE(is_close(got.dtype() == DType::boolean ? DType::f64 : dtype, got.at(i), wanted,
                           units_of(test, dtype)))
          << test.name << "(" << a.at(i / n) << ", " << b.at(i % n) << ") in " << name(dtype)
          << ": " << got.at(i) << ", not " << wanted;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, FloatOps,
                         testing::Values(DType::f32, DType::f64, DType::bf16, DType::f16),
                         [](const auto& info) { return std::string(name(info.param)); });

// The integer a + 2^bits z in the type's range.
template <typename T>
T wrapped(__int128 x) {
  return static_cast<T>(static_cast<unsigned __int128>(x));
}

template <typename T>
class IntegerOps : public testing::Test {};
using Integers = testing::Types<int32_t, int64_t, uint8_t>;
TYPED_TEST_SUITE(IntegerOps, Integers);

TYPED_TEST(IntegerOps, AgreeAndWrap) {
  using T = TypeParam;
  using Limits = std::numeric_limits<T>;
  using Wide = __int128;
  std::vector<T> samples = {0, 1, 2, 3, 7, 100, T(-1), T(-2), T(-100), T(200)};
  samples.insert(samples.end(),
                 {Limits::min(), T(Limits::min() + 1), Limits::max(), T(Limits::max() / 2 + 1)});
  const int64_t n = samples.size();
  const Literal b = Literal::of<T>({n}, samples);
  const Literal a = column(b);
  auto divide = [](Wide x, Wide y) { return y == 0 ? Wide(0) : x / y; };
  const std::vector<std::pair<Value (*)(Located, Value), std::function<Wide(Wide, Wide)>>> cases = {
      {add, [](Wide x, Wide y) { return x + y; }},
      {sub, [](Wide x, Wide y) { return x - y; }},
      {mul, [](Wide x, Wide y) { return x * y; }},
      {div, divide},
      {maximum, [](Wide x, Wide y) { return std::max(x, y); }},
      {minimum, [](Wide x, Wide y) { return std::min(x, y); }},
      {equal, [](Wide x, Wide y) { return Wide(x == y); }},
      {less, [](Wide x, Wide y) { return Wide(x < y); }},
      {greater_equal, [](Wide x, Wide y) { return Wide(x >= y); }},
      {[](Located x, Value) { return neg(x); }, [](Wide x, Wide) { return -x; }},
      {[](Located x, Value) { return abs(x); }, [](Wide x, Wide) { return x < 0 ? -x : x; }},
      {[](Located x, Value) { return sign(x); },
       [](Wide x, Wide) { return Wide((x > 0) - (x < 0)); }},
      {[](Located x, Value) { return square(x); }, [](Wide x, Wide) { return x * x; }},
  };
  for (size_t c = 0; c < cases.size(); ++c) {
    Block block("test");
    const Value y = cases[c].first(block.argument("a", a.type()), block.argument("b", b.type()));
    const bool unary = y.node().operands.size() == 1;
    const Literal got = run_node(y, unary ? std::vector{a} : std::vector{a, b})[0];
    for (int64_t i = 0; i < n * n; ++i) {
      if (unary && i % n != 0) continue;
      const T wanted = wrapped<T>(cases[c].second(samples[i / n], samples[i % n]));
      EXPECT_EQ(got.integer_at(unary ? i / n : i), static_cast<int64_t>(wanted))
          << y.node().op->name << "(" << int64_t(samples[i / n]) << ", " << int64_t(samples[i % n])
          << ")";
    }
  }
}

// What a cast must give, by the words of ops/elementwise.h.
double cast_of(double x, DType to) {
  if (to == DType::boolean) return x != 0;
  if (!is_integer(to)) return x;
  const double low = to == DType::u8    ? 0
                     : to == DType::i32 ? -2147483648.0
                                        : -9223372036854775808.0;
  const double high = to == DType::u8    ? 255
                      : to == DType::i32 ? 2147483647.0
                                         : 9223372036854775807.0;
  return std::isnan(x) ? 0 : std::trunc(std::min(std::max(x, low), high));
}

TEST(Cast, FloatsToEveryType) {
  for (DType from : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    std::vector<double> samples = float_samples(from);
    samples.insert(samples.end(), {2147483648.0, -2147483649.0, 1e19, -1e19, 255.5, 256, -0.9});
    const Literal x = literal_of(from, samples);
    for (DType to : kAllDTypes) {
      Block block("test");
      const Literal got = run_node(cast(block.argument("x", x.type()), to), {x})[0];
      ASSERT_EQ(got.dtype(), to);
      for (int64_t i = 0; i < x.element_count(); ++i) {
        const double wanted = cast_of(x.at(i), to);
        if (is_float(to)) {
          EXPECT_TRUE(is_close(to, got.at(i), wanted, 0.5)) << x.at(i) << " to " << name(to);
        } else {
          EXPECT_EQ(got.at(i), wanted) << x.at(i) << " to " << name(to);
        }
      }
    }
  }
}

TEST(Cast, IntegersToEveryType) {
  const std::vector<int64_t> samples = {0,          1,         -1,         255,
                                        256,        -128,      2147483647, -2147483648,
                                        4294967297, INT64_MAX, INT64_MIN,  9007199254740993,
                                        16777217,   65519,     65520};
  const Literal x = Literal::of<int64_t>({static_cast<int64_t>(samples.size())}, samples);
  for (DType to : kAllDTypes) {
    Block block("test");
    const Literal got = run_node(cast(block.argument("x", x.type()), to), {x})[0];
    for (size_t i = 0; i < samples.size(); ++i) {
      const int64_t s = samples[i];
      if (is_float(to)) {
        EXPECT_TRUE(is_close(to, got.at(i), static_cast<double>(s), 0.5))
            << s << " to " << name(to);
        continue;
      }
      const int64_t wanted = to == DType::boolean ? s != 0
                             : to == DType::u8    ? static_cast<uint8_t>(s)
                             : to == DType::i32   ? static_cast<int32_t>(s)
                                                  : s;
      EXPECT_EQ(got.integer_at(i), wanted) << s << " to " << name(to);
    }
  }
}

// A double just above the middle of two 16-bit floats must not be rounded twice.
TEST(Cast, DoubleToHalfRoundsOnce) {
  const Literal x = Literal::of<double>({2}, {1 + std::ldexp(1.0, -8) + std::ldexp(1.0, -40),
                                              1 + std::ldexp(1.0, -11) + std::ldexp(1.0, -45)});
  Block block("test");
  const Value v = block.argument("x", x.type());
  EXPECT_EQ(run_node(cast(v, DType::bf16), {x})[0].at(0), 1 + std::ldexp(1.0, -7));
  EXPECT_EQ(run_node(cast(v, DType::f16), {x})[0].at(1), 1 + std::ldexp(1.0, -10));
}

TEST(Select, TakesEachElementOfEveryType) {
  const Literal condition = Literal::of<bool>({4, 1}, {true, false, false, true});
  for (DType dtype : kAllDTypes) {
    const Literal a = Literal::filled(dtype, {4, 3}, 1);
    const Literal b = Literal::filled(dtype, {3}, 0);
    Block block("test");
    const Value y = select(block.argument("c", condition.type()), block.argument("a", a.type()),
                           block.argument("b", b.type()));
    const Literal got = run_node(y, {condition, a, b})[0];
    for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(got.at(i), condition.at(i / 3)) << name(dtype);
  }
}

TEST(Logic, TruthTables) {
  const Literal a = Literal::of<bool>({4}, {false, false, true, true});
  const Literal b = Literal::of<bool>({4}, {false, true, false, true});
  Block block("test");
  const Value x = block.argument("a", a.type());
  const Value y = block.argument("b", b.type());
  EXPECT_EQ(run_node(logical_and(x, y), {a, b})[0],
            Literal::of<bool>({4}, {false, false, false, true}));
  EXPECT_EQ(run_node(logical_or(x, y), {a, b})[0],
            Literal::of<bool>({4}, {false, true, true, true}));
  EXPECT_EQ(run_node(logical_xor(x, y), {a, b})[0],
            Literal::of<bool>({4}, {false, true, true, false}));
  EXPECT_EQ(run_node(logical_not(x), {a})[0], Literal::of<bool>({4}, {true, true, false, false}));
}

TEST(MicroKernels, EveryElementwiseOpHasOne) {
  const auto names = micro_kernel_ops();
  for (const OpDef* op : elementwise_ops()) {
    if (op->traits.data_checked) continue;  // it can fail: a kernel of its own
    EXPECT_NE(std::find(names.begin(), names.end(), op->name), names.end()) << op->name;
  }
}

}  // namespace
}  // namespace adjoint::cpu
