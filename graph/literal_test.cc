// Literals, 16-bit floats and attributes: exact in text and out of it.
#include "graph/literal.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "graph/test_ops.h"

namespace adjoint {
namespace {

template <typename F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const GraphError& error) {
    return error.what();
  }
  return "no error";
}

// The value of a binary16, by its definition.
double f16_value(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

TEST(Float16, EveryF16ReadsAsItsValue) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const F16 value{static_cast<uint16_t>(bits)};
    if ((bits & 0x7c00) == 0x7c00) {
      EXPECT_EQ(std::isnan(to_float(value)), (bits & 1023) != 0);
      EXPECT_EQ(std::isinf(to_float(value)), (bits & 1023) == 0);
      const uint32_t nan = (bits & 1023) == 0 ? 0 : 0x200;  // every NaN becomes the quiet one
      EXPECT_EQ(to_f16(to_float(value)).bits, (bits & 0xfc00) | nan) << bits;
      EXPECT_EQ(std::signbit(to_float(value)), bits >= 0x8000);
    } else {
      ASSERT_EQ(to_float(value), f16_value(bits)) << bits;
      ASSERT_EQ(std::signbit(to_float(value)), bits >= 0x8000);
      ASSERT_EQ(to_f16(to_float(value)), value) << bits;
    }
  }
}

// Rounding is decided at the midpoints between neighbours; between them it is monotone.
template <typename H>
void check_rounding(uint32_t infinity, H (*round)(float)) {
  for (uint32_t bits = 0; bits < infinity; ++bits) {
    for (uint32_t sign : {0u, 0x8000u}) {
      const H low{static_cast<uint16_t>(bits | sign)};
      const H high{static_cast<uint16_t>((bits + 1) | sign)};
      // Above the largest finite number lies what would come next.
      const double next =
          bits + 1 == infinity
              ? 2.0 * to_float(low) - to_float(H{static_cast<uint16_t>((bits - 1) | sign)})
              : static_cast<double>(to_float(high));
      const auto middle = static_cast<float>((to_float(low) + next) / 2);
      ASSERT_EQ(round(middle), bits % 2 ? high : low) << bits;
      ASSERT_EQ(round(std::nextafter(middle, to_float(low))), low) << bits;
      ASSERT_EQ(round(std::nextafter(middle, 2 * middle)), high) << bits;
    }
  }
}

TEST(Float16, RoundsToNearestEven) {
  check_rounding<F16>(0x7c00, to_f16);
  check_rounding<Bf16>(0x7f80, to_bf16);
}

TEST(Float16, Bf16IsTheUpperHalf) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const Bf16 value{static_cast<uint16_t>(bits)};
    ASSERT_EQ(std::bit_cast<uint32_t>(to_float(value)), bits << 16);
    const bool nan = (bits & 0x7fff) > 0x7f80;
    ASSERT_EQ(to_bf16(to_float(value)).bits, nan ? bits | 0x40 : bits);
  }
  EXPECT_TRUE(std::isnan(to_float(to_f16(std::numeric_limits<float>::signaling_NaN()))));
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::bit_cast<float>(0x7f800001u)))));
}

void expect_exact(const Literal& literal) {
  const std::string text = to_text(literal);
  const Literal back = Literal::parse(text);
  ASSERT_EQ(back, literal) << text;
  ASSERT_EQ(to_text(back), text);
  ASSERT_EQ(back.hash(), literal.hash());
}

TEST(Literal, EverySmallElementIsExactInText) {
  for (DType dtype : {DType::bf16, DType::f16}) {
    std::vector<std::byte> bytes(2 * 65536);
    for (uint32_t bits = 0; bits < 65536; ++bits) std::memcpy(&bytes[2 * bits], &bits, 2);
    expect_exact(Literal(dtype, {65536}, bytes));
  }
  std::vector<std::byte> bytes(256);
  for (int i = 0; i < 256; ++i) bytes[i] = std::byte(i);
  expect_exact(Literal(DType::u8, {256}, bytes));
  expect_exact(Literal::of<bool>({2}, {false, true}));
}

TEST(Literal, RandomBitsAreExactInText) {
  std::mt19937_64 random(3);
  for (DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64}) {
    std::vector<std::byte> bytes(20000 * size_of(dtype));
    for (std::byte& b : bytes) b = std::byte(random());
    expect_exact(Literal(dtype, {20000}, bytes));
  }
}

TEST(Literal, EdgesAreExactInText) {
  using F = std::numeric_limits<float>;
  using D = std::numeric_limits<double>;
  expect_exact(Literal::of<float>({8}, {0.0f, -0.0f, F::denorm_min(), -F::min(), F::max(),
                                        F::infinity(), -F::infinity(), F::quiet_NaN()}));
  expect_exact(Literal::of<double>({8}, {0.0, -0.0, D::denorm_min(), -D::min(), D::max(),
                                         D::infinity(), -D::infinity(), D::quiet_NaN()}));
  expect_exact(Literal::of<int64_t>(
      {2}, {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()}));
  expect_exact(Literal::of<float>({0, 3}, {}));
  EXPECT_EQ(to_text(Literal::of<float>({}, {-std::numeric_limits<float>::quiet_NaN()})),
            "f32[]{nan(ffc00000)}");
  EXPECT_EQ(to_text(Literal::of<float>({2}, {0.1f, 1e-45f})), "f32[2]{0.1,1e-45}");
  EXPECT_EQ(to_text(Literal::scalar(DType::f64, std::nan(""))), "f64[]{nan}");
  EXPECT_EQ(to_text(Literal::of<bool>({2}, {true, false})), "bool[2]{true,false}");
}

TEST(Literal, RefusesMalformedText) {
  for (const char* text : {"",
                           "f32",
                           "f32[]",
                           "{1}",
                           "f32[]{1",
                           "f32[]{}",
                           "f32[]{1,2}",
                           "f32[2]{1,}",
                           "f32[2]{1,2,}",
                           "f32[n]{1}",
                           "f32[]{x}",
                           "f32[]{1e50}",
                           "f16[]{70000}",
                           "bf16[]{1e39}",
                           "u8[]{256}",
                           "u8[]{-1}",
                           "i32[]{2147483648}",
                           "i64[]{9223372036854775808}",
                           "i64[]{1.5}",
                           "bool[]{1}",
                           "f32[]{nan(1)}",
                           "f32[]{nan(17fc00000)}",
                           "f32[]{nan()}",
                           "f32[]{nan(7fc00000}",
                           "f32[-1]{}",
                           "f32[4611686018427387904,4]{}",
                           "f32[]{ 1}"}) {
    EXPECT_THROW(Literal::parse(text), GraphError) << text;
  }
}

TEST(Literal, ConvertsAndCompares) {
  EXPECT_EQ(Literal::scalar(DType::u8, 300).integer_at(0), 255);
  EXPECT_EQ(Literal::scalar(DType::i32, -1e20).integer_at(0), -2147483648);
  EXPECT_EQ(Literal::scalar(DType::i64, std::nan("")).integer_at(0), 0);
  EXPECT_EQ(Literal::scalar(DType::boolean, 0.5).at(0), 1);
  EXPECT_EQ(Literal::integer((int64_t{1} << 53) + 1).integer_at(0), (int64_t{1} << 53) + 1);
  EXPECT_FALSE(Literal::scalar(DType::f32, 0.0) == Literal::scalar(DType::f32, -0.0));
  EXPECT_FALSE(Literal::scalar(DType::f32, 0) == Literal::scalar(DType::i32, 0));
  EXPECT_FALSE(Literal::filled(DType::f32, {1}, 0) == Literal::scalar(DType::f32, 0));
  EXPECT_TRUE(Literal::scalar(DType::f32, std::nan("")) ==
              Literal::scalar(DType::f32, std::nan("")));
  EXPECT_TRUE(Literal::filled(DType::f32, {3}, 2).is_uniform());
  EXPECT_FALSE((Literal::of<float>({2}, {0.0f, -0.0f}).is_uniform()));
  EXPECT_FALSE((Literal::of<float>({0}, {}).is_uniform()));
  EXPECT_EQ(error_of([] {
              Literal::of<float>({3}, {1, 2});
            }),
            "a literal of type f32[3] does not fit 8 bytes");
  EXPECT_EQ(error_of([] { Literal(DType::boolean, {}, {std::byte{2}}); }),
            "a bool is 0 or 1, not 2");
}

TEST(Attributes, CompareHashAndSubstitute) {
  using test_ops::EveryAttributes;
  EveryAttributes plain;
  EXPECT_EQ(Attributes(plain).to_text(), "");
  EXPECT_EQ(Attributes(plain), Attributes(EveryAttributes{}));
  EveryAttributes other;
  other.real = -0.0;
  EveryAttributes zero;
  zero.real = 0.0;
  EXPECT_FALSE(Attributes(other) == Attributes(zero));
  EXPECT_EQ(Attributes(other).hash(), Attributes(other).hash());
  EXPECT_EQ(Attributes(other).to_text(), "{real=-0}");
  EXPECT_FALSE(Attributes(plain) == Attributes(test_ops::MatmulAttributes{}));
  EXPECT_FALSE(Attributes(plain) == Attributes());

  const Dim n = Dim::symbol("n");
  EveryAttributes symbolic;
  symbolic.dim = 2 * n;
  symbolic.shape = {n, 1};
  symbolic.type = {DType::u8, {n}};
  EXPECT_EQ(Attributes(symbolic).substitute({{"n", 3}}).to_text(),
            "{dim=6, shape=[3,1], type=u8[3]}");
  EXPECT_EQ(error_of([&] { Attributes(plain).get<test_ops::MatmulAttributes>(); }),
            "attributes are of another type");
}

TEST(Attributes, NumbersAreExactInText) {
  std::mt19937_64 random(4);
  for (int i = 0; i < 20000; ++i) {
    const auto value = std::bit_cast<double>(random());
    if (std::isnan(value)) continue;
    double back = 0;
    parse_field(field_text(value), back);
    ASSERT_EQ(std::bit_cast<uint64_t>(back), std::bit_cast<uint64_t>(value));
  }
  for (const char* text : {"", " 1", "1 ", "1,", "0x1", "one"}) {
    double value = 0;
    int64_t whole = 0;
    EXPECT_THROW(parse_field(text, value), GraphError) << text;
    EXPECT_THROW(parse_field(text, whole), GraphError) << text;
  }
  std::vector<int64_t> list;
  for (const char* text : {"", "[", "[1", "[1,]", "[,]", "1"}) {
    EXPECT_THROW(parse_field(text, list), GraphError) << text;
  }
  std::string quoted;
  for (const char* text : {"", "\"", "a", "\"\\\""}) {
    EXPECT_THROW(parse_field(text, quoted), GraphError) << text;
  }
}

}  // namespace
}  // namespace adjoint
