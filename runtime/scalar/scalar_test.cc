// The scalar functions against the C library in double: a dense sample of all float bit patterns
// (subnormals, infinities, NaN with them) and all special values.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "runtime/scalar/activation.h"
#include "runtime/scalar/arithmetic.h"
#include "runtime/scalar/exponential.h"
#include "runtime/scalar/trigonometric.h"

namespace adjoint::scalar {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// The error of `got` in units in the last place of the float nearest to `wanted`.
double error_of(float got, double wanted) {
  constexpr double kWrong = 1e9;
  if (std::isnan(wanted) || std::isnan(got))
    return std::isnan(got) == std::isnan(wanted) ? 0 : kWrong;
  const float nearest = static_cast<float>(wanted);
  if (std::isinf(nearest) || std::isinf(got)) {
    // Within half a unit of the end of the range both are right.
    return got == nearest || (std::fabs(wanted) > 3.4028233e38 && std::fabs(got) > 3.402823e38)
               ? 0
               : kWrong;
  }
  const float magnitude = std::fabs(nearest);
  const double unit = static_cast<double>(std::nextafter(magnitude, kInfinity)) - magnitude;
  return std::fabs(got - wanted) / (std::isinf(unit) ? std::ldexp(1.0, 104) : unit);
}

std::vector<float> samples() {
  std::vector<float> all = {0.0f, -0.0f, 1.0f, -1.0f, kInfinity, -kInfinity, kNaN, -kNaN};
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 9973) {
    all.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  }
  for (float x = -30; x < 30; x += 3e-4f) all.push_back(x);
  return all;
}

struct Function {
  const char* name;
  float (*function)(float);
  double (*wanted)(double);
  double bound;            // units in the last place
  float low = -kInfinity;  // the error counts from here on
};

TEST(Scalar, ErrorsStayBelowTheirBounds) {
  const Function functions[] = {
      {"exp", [](float x) { return exp(x); }, [](double x) { return std::exp(x); }, 1},
      {"expm1", [](float x) { return expm1(x); }, [](double x) { return std::expm1(x); }, 2},
      {"log", [](float x) { return log(x); }, [](double x) { return std::log(x); }, 1},
      {"log1p", [](float x) { return log1p(x); }, [](double x) { return std::log1p(x); }, 2},
      {"sin", [](float x) { return sin(x); }, [](double x) { return std::sin(x); }, 0.51},
      {"cos", [](float x) { return cos(x); }, [](double x) { return std::cos(x); }, 0.51},
      {"tanh", [](float x) { return tanh(x); }, [](double x) { return std::tanh(x); }, 3},
      {"erf", [](float x) { return erf(x); }, [](double x) { return std::erf(x); }, 0.51},
      {"sigmoid", [](float x) { return sigmoid(x); },
       [](double x) { return 1 / (1 + std::exp(-x)); }, 3},
      {"softplus", [](float x) { return softplus(x); },
       [](double x) {
         return std::isnan(x) ? x : std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
       },
       3},
      // Below, the result cancels or is subnormal.
      {"silu", [](float x) { return silu(x); }, [](double x) { return x / (1 + std::exp(-x)); }, 4,
       -80},
      {"gelu", [](float x) { return gelu(x); },
       [](double x) { return x * 0.5 * std::erfc(-x * std::sqrt(0.5)); }, 2, -2.5f},
      {"sqrt", [](float x) { return sqrt(x); }, [](double x) { return std::sqrt(x); }, 0.51},
      {"floor", [](float x) { return floor(x); }, [](double x) { return std::floor(x); }, 0},
  };
  const std::vector<float> all = samples();
  for (const Function& f : functions) {
    double worst = 0;
    float at = 0;
    for (float x : all) {
      if (x < f.low) continue;
      const double error = error_of(f.function(x), f.wanted(x));
      if (error > worst) {
        worst = error;
        at = x;
      }
    }
    EXPECT_LE(worst, f.bound) << f.name << "(" << at << ") = " << f.function(at) << ", not "
                              << f.wanted(at);
  }
}

TEST(Scalar, PowerOfAllPairsOfSpecialAndOrdinaryValues) {
  std::vector<float> values = {
      0.0f,     -0.0f,     1,          -1,         2,          -2,      3,       -3,       0.5f,
      -0.5f,    kInfinity, -kInfinity, kNaN,       1e-45f,     -1e-45f, 3.4e38f, -3.4e38f, 16777216,
      16777218, 8388609,   -8388609,   1.0000001f, 0.9999999f, -7,      1e-3f,   127.5f};
  for (int i = 0; i < 200; ++i) values.push_back(std::exp(i * 0.9f - 90));
  for (int i = 0; i < 60; ++i) values.push_back(i * 0.37f - 11);
  double worst = 0;
  for (float a : values) {
    for (float b : values) {
      const double error =
          error_of(pow(a, b), std::pow(static_cast<double>(a), static_cast<double>(b)));
      EXPECT_LE(error, 0.51) << a << "^" << b << " = " << pow(a, b);
      worst = std::max(worst, error);
    }
  }
  EXPECT_GT(worst, 0.4);  // the samples reach the bound
}

TEST(Scalar, NegativeZeroStays) {
  for (float (*f)(float) : {+[](float x) { return sin(x); }, +[](float x) { return tanh(x); },
                            +[](float x) { return expm1(x); }, +[](float x) { return log1p(x); },
                            +[](float x) { return erf(x); }, +[](float x) { return floor(x); },
                            +[](float x) { return sqrt(x); }, +[](float x) { return sign(x); }}) {
    EXPECT_TRUE(std::signbit(f(-0.0f)));
    EXPECT_EQ(f(-0.0f), 0.0f);
    EXPECT_FALSE(std::signbit(f(0.0f)));
  }
}

TEST(Scalar, ActivationsAtTheEnds) {
  EXPECT_TRUE(std::isnan(relu(kNaN)));
  EXPECT_EQ(relu(-kInfinity), 0.0f);
  EXPECT_EQ(gelu(40.0f), 40.0f);
  EXPECT_EQ(gelu(-40.0f), 0.0f);
  EXPECT_NEAR(gelu_tanh(1.0f), 0.841192f, 1e-6);
  EXPECT_EQ(leaky_relu(-2.0f, 0.25f), -0.5f);
  EXPECT_NEAR(elu(-1.0f, 2.0f), 2 * std::expm1(-1.0), 1e-6);
  EXPECT_EQ(sigmoid(-kInfinity), 0.0f);
  EXPECT_EQ(sigmoid(kInfinity), 1.0f);
  EXPECT_EQ(softplus(-kInfinity), 0.0f);
  EXPECT_EQ(softplus(kInfinity), kInfinity);
}

TEST(Scalar, FloatToIntegerSaturates) {
  EXPECT_EQ(to_integer<int32_t>(2147483648.0f), INT32_MAX);
  EXPECT_EQ(to_integer<int32_t>(2147483520.0f), 2147483520);
  EXPECT_EQ(to_integer<int32_t>(2147483647.9), INT32_MAX);
  EXPECT_EQ(to_integer<int32_t>(-2147483904.0f), INT32_MIN);
  EXPECT_EQ(to_integer<int64_t>(9.3e18), INT64_MAX);
  EXPECT_EQ(to_integer<int64_t>(-9.3e18f), INT64_MIN);
  EXPECT_EQ(to_integer<uint8_t>(255.9f), 255);
  EXPECT_EQ(to_integer<uint8_t>(-0.9f), 0);
  EXPECT_EQ(to_integer<uint8_t>(-1.0), 0);
  EXPECT_EQ(to_integer<int32_t>(kNaN), 0);
  EXPECT_EQ(to_integer<int32_t>(-1.9f), -1);
}

// Rounding to odd, then to nearest with 16 bits fewer, is rounding once.
TEST(Scalar, RoundingToOdd) {
  EXPECT_EQ(to_float_odd(0.5), 0.5f);
  EXPECT_EQ(to_float_odd(1 + std::ldexp(1.0, -30)), 1 + std::ldexp(1.0f, -23));
  EXPECT_EQ(to_float_odd(-1 - std::ldexp(1.0, -30)), -1 - std::ldexp(1.0f, -23));
  EXPECT_EQ(to_float_odd(1 + std::ldexp(1.0, -23) + std::ldexp(1.0, -25)),
            1 + std::ldexp(1.0f, -23));
  EXPECT_EQ(to_float_odd(1e300), std::numeric_limits<float>::max());
  EXPECT_EQ(to_float_odd(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(to_float_odd(kNaN)));
}

}  // namespace
}  // namespace adjoint::scalar
