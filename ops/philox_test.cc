#include "ops/philox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

namespace adjoint {
namespace {

using philox::Words;

void expect_words(const Words& words, std::vector<uint32_t> expected) {
  EXPECT_EQ(std::vector<uint32_t>(words.w, words.w + 4), expected);
}

// The known answers published with Random123 for philox4x32, 10 rounds.
TEST(Philox, KnownAnswers) {
  constexpr uint32_t kOnes = 0xffffffffu;
  expect_words(philox::philox4x32({{0, 0, 0, 0}}, 0, 0),
               {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  expect_words(philox::philox4x32({{kOnes, kOnes, kOnes, kOnes}}, kOnes, kOnes),
               {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  expect_words(philox::philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822,
                                  0x299f31d0),
               {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST(Philox, BlocksUseKeyStreamAndIndexLowWordFirst) {
  expect_words(philox::block(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88),
               {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST(Philox, FoldInGivesDistinctKeys) {
  std::map<uint64_t, uint64_t> seen;
  for (uint64_t key : {0, 1, 2}) {
    for (uint64_t data = 0; data < 1000; ++data) ++seen[philox::fold_in(key, data)];
  }
  EXPECT_EQ(seen.size(), 3000u);
  EXPECT_NE(philox::fold_in(0, uint64_t{1} << 32), philox::fold_in(0, 1));
}

TEST(Philox, UnitNumbersCoverZeroToBelowOne) {
  constexpr uint32_t kOnes = 0xffffffffu;
  EXPECT_EQ(philox::unit_float(0), 0.0f);
  EXPECT_EQ(philox::unit_float(kOnes), 1 - 0x1p-24f);
  EXPECT_EQ(philox::unit_double(0, 0), 0.0);
  EXPECT_EQ(philox::unit_double(kOnes, kOnes), 1 - 0x1p-53);
  EXPECT_EQ(philox::unit_double(0, 0x80000000u), 0.5);
}

TEST(Philox, UniformNeverReachesItsUpperBound) {
  constexpr uint32_t kOnes = 0xffffffffu;
  float x[4];
  philox::uniform_block({{0, kOnes, 0x80000000u, kOnes}}, 100.0f, 100.5f, x);
  EXPECT_EQ(x[0], 100.0f);
  EXPECT_EQ(x[1], std::nextafter(100.5f, 100.0f));
  EXPECT_EQ(x[2], 100.25f);
  philox::uniform_block({{kOnes, kOnes, 5, kOnes}}, 3.0f, 3.0f, x);
  EXPECT_EQ(x[0], 3.0f);
}

TEST(Philox, BernoulliThresholds) {
  EXPECT_EQ(philox::bernoulli_threshold(0), 0u);
  EXPECT_EQ(philox::bernoulli_threshold(1), uint64_t{1} << 32);
  EXPECT_EQ(philox::bernoulli_threshold(0.25), uint64_t{1} << 30);
  EXPECT_TRUE(philox::bernoulli(0xffffffffu, philox::bernoulli_threshold(1)));
  EXPECT_FALSE(philox::bernoulli(0, philox::bernoulli_threshold(0)));
}

template <typename T>
double error_in_units(T value, long double exact) {
  const T rounded = std::abs(static_cast<T>(exact));
  const T unit = std::nextafter(rounded, std::numeric_limits<T>::infinity()) - rounded;
  return static_cast<double>(std::abs(static_cast<long double>(value) - exact) / unit);
}

TEST(Philox, LogarithmIsAccurate) {
  double worst_float = 0, worst_double = 0;
  for (uint64_t i = 0; i < 100000; ++i) {
    const Words w = philox::block(7, 1, i);
    const float x = (static_cast<float>(w.w[0]) + 0.5f) * 0x1p-32f;
    const double y = philox::unit_double(w.w[1], w.w[2]) + 0x1p-54;
    worst_float = std::max(worst_float, error_in_units(philox::log_positive(x),
                                                       std::log(static_cast<long double>(x))));
    worst_double = std::max(worst_double, error_in_units(philox::log_positive(y),
                                                         std::log(static_cast<long double>(y))));
  }
  EXPECT_LT(worst_float, 3);
  EXPECT_LT(worst_double, 3);
  EXPECT_EQ(philox::log_positive(1.0f), 0);
  EXPECT_EQ(philox::log_positive(1.0), 0);
  EXPECT_FLOAT_EQ(philox::log_positive(0x1p-33f), -33 * std::log(2.0f));
}

TEST(Philox, SineAndCosineAreAccurate) {
  const long double turn = 2 * std::acos(-1.0L);
  for (uint64_t i = 0; i < 100000; ++i) {
    const Words w = philox::block(8, 2, i);
    const uint64_t wide = w.w[1] | uint64_t{w.w[2]} << 32;
    const auto narrow_result = philox::sincos_turns(w.w[0]);
    const auto wide_result = philox::sincos_turns(wide);
    ASSERT_NEAR(narrow_result.sin, std::sin(w.w[0] * 0x1p-32L * turn), 1e-7) << w.w[0];
    ASSERT_NEAR(narrow_result.cos, std::cos(w.w[0] * 0x1p-32L * turn), 1e-7) << w.w[0];
    ASSERT_NEAR(wide_result.sin, static_cast<double>(std::sin(wide * 0x1p-64L * turn)), 3e-16);
    ASSERT_NEAR(wide_result.cos, static_cast<double>(std::cos(wide * 0x1p-64L * turn)), 3e-16);
  }
  for (uint32_t quarter = 0; quarter < 4; ++quarter) {
    const double sines[] = {0, 1, 0, -1};
    EXPECT_EQ(philox::sincos_turns(quarter << 30).sin, sines[quarter]);
    EXPECT_EQ(philox::sincos_turns(quarter << 30).cos, sines[(quarter + 1) % 4]);
    EXPECT_EQ(philox::sincos_turns(uint64_t{quarter} << 62).sin, sines[quarter]);
    EXPECT_EQ(philox::sincos_turns(uint64_t{quarter} << 62).cos, sines[(quarter + 1) % 4]);
  }
}

// The bits themselves: every compiler, flag and device must give these.
TEST(Philox, BitsAreFixed) {
  uint64_t hash = 0;
  auto add = [&hash](const auto& value) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    hash = (hash ^ bits) * 0x100000001b3u + (hash >> 29);
  };
  for (uint64_t i = 0; i < 10000; ++i) {
    const Words w = philox::block(1, 2, i);
    float x[8];
    double y[4];
    philox::normal_block(w, 0.5f, 2.0f, x);
    philox::uniform_block(w, -3.0f, 1.3f, x + 4);
    philox::normal_block(w, 0.5, 2.0, y);
    philox::uniform_block(w, -3.0, 1.3, y + 2);
    for (float value : x) add(value);
    for (double value : y) add(value);
    add(philox::permute_index(philox::fold_in(1, i), i, 60000));
  }
  EXPECT_EQ(hash, 10396464107386721614u);
  float x[4];
  philox::normal_block(philox::block(1, 2, 0), 0.5f, 2.0f, x);
  EXPECT_EQ(x[0], -0x1.6e4f98p-2f);
}

TEST(Philox, NormalIsBoxMullers) {
  float x[4];
  double y[2];
  philox::normal_block(philox::block(1, 2, 3), 0.0f, 1.0f, x);
  philox::normal_block(philox::block(1, 2, 3), 0.0, 1.0, y);
  const Words w = philox::block(1, 2, 3);
  const double turn = 2 * std::acos(-1.0);
  const double radius = std::sqrt(-2 * std::log((w.w[2] + 0.5) * 0x1p-32));
  EXPECT_NEAR(x[2], radius * std::cos(w.w[3] * 0x1p-32 * turn), 1e-6);
  EXPECT_NEAR(x[3], radius * std::sin(w.w[3] * 0x1p-32 * turn), 1e-6);
  const double wide_radius =
      std::sqrt(-2 * std::log(philox::unit_double(w.w[0], w.w[1]) + 0x1p-54));
  EXPECT_NEAR(y[0], wide_radius * std::cos((w.w[2] * 0x1p-64 + w.w[3] * 0x1p-32) * turn), 1e-14);
  EXPECT_NEAR(y[1], wide_radius * std::sin((w.w[2] * 0x1p-64 + w.w[3] * 0x1p-32) * turn), 1e-14);
}

template <typename T>
std::vector<double> sample_normal(int blocks) {
  std::vector<double> sample;
  for (int b = 0; b < blocks; ++b) {
    T out[16 / sizeof(T)];
    philox::normal_block(philox::block(5, 9, b), T{0}, T{1}, out);
    sample.insert(sample.end(), std::begin(out), std::end(out));
  }
  return sample;
}

void expect_normal(const std::vector<double>& sample) {
  const double n = static_cast<double>(sample.size());
  double moments[5] = {};
  for (double x : sample) {
    for (int k = 1; k < 5; ++k) moments[k] += std::pow(x, k) / n;
  }
  // Five standard errors of each moment of a standard normal.
  EXPECT_NEAR(moments[1], 0, 5 / std::sqrt(n));
  EXPECT_NEAR(moments[2], 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(moments[3], 0, 5 * std::sqrt(15 / n));
  EXPECT_NEAR(moments[4], 3, 5 * std::sqrt(96 / n));
  const double beyond = static_cast<double>(
      std::count_if(sample.begin(), sample.end(), [](double x) { return x > 2; }));
  EXPECT_NEAR(beyond / n, 0.0227501, 5 * std::sqrt(0.0222 / n));
}

TEST(Philox, NormalMoments) {
  expect_normal(sample_normal<float>(100000));
  expect_normal(sample_normal<double>(100000));
}

TEST(Philox, ExtremeNormalsAreFinite) {
  float x[4];
  double y[2];
  constexpr uint32_t kOnes = 0xffffffffu;
  philox::normal_block({{0, 0, kOnes, 0}}, 0.0f, 1.0f, x);
  EXPECT_NEAR(x[0], std::sqrt(2 * 33 * std::log(2.0)), 1e-5);
  EXPECT_EQ(x[2], 0);
  philox::normal_block({{0, 0, 0, 0}}, 0.0, 1.0, y);
  EXPECT_NEAR(y[0], std::sqrt(2 * 54 * std::log(2.0)), 1e-14);
}

void expect_permutation(uint64_t key, uint64_t n) {
  std::vector<bool> hit(n);
  for (uint64_t i = 0; i < n; ++i) {
    const uint64_t to = philox::permute_index(key, i, n);
    ASSERT_LT(to, n);
    ASSERT_FALSE(hit[to]) << "key " << key << ", n " << n << ", index " << i;
    hit[to] = true;
  }
}

TEST(Philox, PermutationsHitEveryIndexOnce) {
  for (uint64_t n = 1; n <= 130; ++n) {
    for (uint64_t key : {0, 1, 12345}) expect_permutation(key, n);
  }
  for (uint64_t n : {1000, 4096, 4097, 60000, 65535, 65537}) {
    expect_permutation(0x123456789abcdef0 + n, n);
  }
}

TEST(Philox, PermutationsOfHugeRangesStayInside) {
  const uint64_t n = (uint64_t{1} << 62) + 1;
  std::map<uint64_t, int> seen;
  for (uint64_t i = n - 1000; i < n; ++i) {
    const uint64_t to = philox::permute_index(3, i, n);
    ASSERT_LT(to, n);
    ++seen[to];
  }
  EXPECT_EQ(seen.size(), 1000u);
}

// All 24 permutations of four elements, about equally often over keys.
TEST(Philox, PermutationsOfFewElementsAreEven) {
  std::map<std::vector<uint64_t>, int> counts;
  const int keys = 24000;
  for (int key = 0; key < keys; ++key) {
    std::vector<uint64_t> image;
    for (uint64_t i = 0; i < 4; ++i) image.push_back(philox::permute_index(key, i, 4));
    ++counts[image];
  }
  EXPECT_EQ(counts.size(), 24u);
  double chi_square = 0;
  for (const auto& [image, count] : counts) chi_square += std::pow(count - 1000, 2) / 1000.0;
  EXPECT_LT(chi_square, 60);  // 23 degrees of freedom: exceeded with probability 4e-5
}

TEST(Philox, NeighboursMoveApart) {
  const uint64_t n = 60000;
  double total = 0;
  for (uint64_t i = 0; i + 1 < n; ++i) {
    const auto a = static_cast<double>(philox::permute_index(11, i, n));
    const auto b = static_cast<double>(philox::permute_index(11, i + 1, n));
    total += std::abs(a - b);
  }
  EXPECT_NEAR(total / (n - 1), n / 3.0, 300);  // the mean distance of two random places
}

}  // namespace
}  // namespace adjoint
