#include "graph/dim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "graph/error.h"
#include "graph/shape.h"

namespace adjoint {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

const Dim n = Dim::symbol("n");
const Dim m = Dim::symbol("m");

template <typename F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const GraphError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Dim, CanonicalForm) {
  EXPECT_EQ((2 * n + 1).to_text(), "2*n+1");
  EXPECT_EQ((1 + n + n).to_text(), "2*n+1");
  EXPECT_EQ((n * m - m * n), Dim(0));
  EXPECT_TRUE((n - n).is_constant());
  EXPECT_EQ((n + m) * (n - m), n * n - m * m);
  EXPECT_EQ(((n + 1) * (n + 1)).to_text(), "2*n+n*n+1");
  EXPECT_EQ((0 - n).to_text(), "-n");
  EXPECT_EQ((3 - 2 * n * m).to_text(), "-2*m*n+3");
  EXPECT_EQ(n.symbol_name(), "n");
  EXPECT_EQ((n + 1).symbol_name(), std::nullopt);
  EXPECT_EQ((2 * n).symbol_name(), std::nullopt);
  EXPECT_NE(n, m);
  EXPECT_NE(n, Dim(1));
  EXPECT_EQ((n + m).hash(), (m + n).hash());
}

TEST(Dim, FloorDivision) {
  EXPECT_EQ(floor_div(7, 2), Dim(3));
  EXPECT_EQ(floor_div(-7, 2), Dim(-4));
  EXPECT_EQ(floor_div(7, -2), Dim(-4));
  EXPECT_EQ(ceil_div(7, 2), Dim(4));
  EXPECT_EQ(floor_div(4 * n + 6, 2), 2 * n + 3);
  EXPECT_EQ(floor_div(4 * n + 7, 2), 2 * n + 3);
  EXPECT_EQ(floor_div(n * m * 6, 2 * n), 3 * m);
  EXPECT_EQ(floor_div(n + m, n + m), Dim(1));
  EXPECT_EQ(floor_div(0, n), Dim(0));
  EXPECT_EQ(floor_div(n, 1), n);
  EXPECT_EQ(floor_div(n, -1), 0 - n);
  EXPECT_EQ(floor_div(n, 2).to_text(), "(n//2)");
  EXPECT_EQ(floor_div(2 * n + m, 2).to_text(), "(m//2)+n");
  EXPECT_EQ(floor_div(floor_div(n + 1, 2) - 3, m).to_text(), "((((n+1)//2)-3)//m)");
}

TEST(Dim, TextParsesBack) {
  for (const char* text : {"0", "-1", "n", "-n", "2*n+1", "-2*m*n+n*n-3", "(n//2)",
                           "((-n)//m)+((n+1)//2)", "-9223372036854775808*n+9223372036854775807"}) {
    EXPECT_EQ(Dim::parse(text).to_text(), text);
  }
  EXPECT_EQ(Dim::parse("-9223372036854775808"), Dim(kMin));
  EXPECT_EQ(Dim::parse("--n-(2-n)*-1"), 2 * n - n + 2 - n);
  for (const char* text :
       {"", "n+", "+n", "n n", "2n", "(n", "n)", "n/2", "n%2", "()", "1.5", "-"}) {
    EXPECT_EQ(error_of([&] { Dim::parse(text); }), "not a dimension: '" + std::string(text) + "'");
  }
  EXPECT_THROW(Dim::parse("9223372036854775808"), GraphError);
  EXPECT_THROW(Dim::parse("n//0"), GraphError);
  EXPECT_THROW(Dim::symbol(""), GraphError);
  EXPECT_THROW(Dim::symbol("1n"), GraphError);
  EXPECT_THROW(Dim::symbol("a.b"), GraphError);
}

TEST(Dim, OverflowIsAnError) {
  const std::string overflow = "dimension overflows 64 bits";
  EXPECT_EQ(error_of([] { Dim(kMax) + 1; }), overflow);
  EXPECT_EQ(error_of([] { Dim(kMin) - 1; }), overflow);
  EXPECT_EQ(Dim(-1) - Dim(kMin), Dim(kMax));
  EXPECT_EQ(error_of([] { Dim(kMax) * 2; }), overflow);
  EXPECT_EQ(error_of([] { floor_div(kMin, -1); }), overflow);
  EXPECT_EQ(error_of([] { floor_div(Dim(kMin) * n, -1); }), overflow);
  EXPECT_EQ(error_of([] { kMax* n + n; }), overflow);
  EXPECT_EQ(error_of([] { (kMax * n).evaluate({{"n", 2}}); }), overflow);
  EXPECT_EQ(error_of([] { floor_div(1, 0); }), "dimension divided by zero");
  EXPECT_EQ(error_of([] { floor_div(n, 0); }), "dimension divided by zero");
  EXPECT_EQ(error_of([] {
              floor_div(n, m).evaluate({{"n", 1}, {"m", 0}});
            }),
            "dimension divided by zero");
}

TEST(Dim, LongExpressionsAreRefused) {
  const std::string too_long = "dimension expression is too long";
  std::string sum = "s0", product = "1", power = "n";
  for (int i = 1; i < 200; ++i) sum += "+s" + std::to_string(i);
  for (int i = 1; i < 40; ++i) {
    const std::string number = std::to_string(i);
    product += "*(a" + number + "+b" + number + ")";
  }
  for (int i = 1; i < 100; ++i) power += "*n";
  EXPECT_EQ(error_of([&] { Dim::parse(sum); }), too_long);
  EXPECT_EQ(error_of([&] { Dim::parse(product); }), too_long);
  EXPECT_EQ(error_of([&] { Dim::parse(power); }), too_long);
  EXPECT_EQ(error_of([&] {
              Dim::parse(std::string(500, '(') + "n" + std::string(500, ')'));
            }).substr(0, 20),
            "not a dimension: '((");
  EXPECT_EQ(error_of([] {
              Dim d = n;
              for (int i = 0; i < 64; ++i) d = floor_div(d + 1, d + 2);
            }),
            too_long);
}

TEST(Dim, BindingsReplaceSymbols) {
  EXPECT_EQ((2 * n + m).substitute({{"n", 3}}), m + 6);
  EXPECT_EQ(floor_div(n, m).substitute({{"m", 2}}).to_text(), "(n//2)");
  EXPECT_EQ((2 * n + m).evaluate({{"n", 3}, {"m", 1}, {"other", 9}}), 7);
  EXPECT_EQ(error_of([] {
              (2 * n + m).evaluate({{"n", 3}});
            }),
            "dimension 'm' is not bound to a number");
  EXPECT_EQ(error_of([] { (2 * n).value(); }), "dimension '2*n' is not a number yet");
  DimBindings symbols;
  (floor_div(n, m + 1) * Dim::symbol("k")).collect_symbols(symbols);
  EXPECT_EQ(symbols.size(), 3u);
}

// A random expression together with the number it stands for under some bindings.
struct Pair {
  Dim dim;
  int64_t number;
};

int64_t floor_divide(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

Pair combine(const Pair& a, const Pair& b, int operation) {
  switch (operation) {
    case 0:
      return {a.dim + b.dim, a.number + b.number};
    case 1:
      return {a.dim - b.dim, a.number - b.number};
    case 2:
      return {a.dim * b.dim, a.number * b.number};
    default:
      if (b.number == 0) return a;
      return {floor_div(a.dim, b.dim), floor_divide(a.number, b.number)};
  }
}

TEST(Dim, RandomExpressionsKeepTheirValue) {
  std::mt19937 random(1);
  int symbolic = 0;
  for (int round = 0; round < 1000; ++round) {
    DimBindings bindings;
    std::vector<Pair> pool;
    for (const char* name : {"a", "b", "c"}) {
      bindings[name] = static_cast<int64_t>(random() % 13) - 4;
      pool.push_back({Dim::symbol(name), bindings[name]});
    }
    for (int i = 0; i < 3; ++i) {
      const auto number = static_cast<int64_t>(random() % 9) - 3;
      pool.push_back({Dim(number), number});
    }
    for (int step = 0; step < 6; ++step) {
      const Pair& a = pool[random() % pool.size()];
      const Pair& b = pool[random() % pool.size()];
      const int operation = random() % 4;
      Pair made;
      try {
        made = combine(a, b, operation);
      } catch (const GraphError& error) {
        continue;  // a divisor whose expression is zero, or too long
      }
      // x//x is 1 and 0//x is 0 without asking whether x can be zero.
      ASSERT_EQ(made.dim.evaluate(bindings), made.number)
          << a.dim.to_text() << " op" << operation << " " << b.dim.to_text();
      ASSERT_EQ(Dim::parse(made.dim.to_text()), made.dim) << made.dim.to_text();
      symbolic += !made.dim.is_constant();
      pool.push_back(made);
    }
  }
  EXPECT_GT(symbolic, 2000);
}

TEST(Dim, EqualPolynomialsAreEqual) {
  std::mt19937 random(2);
  auto polynomial = [&] {
    Dim d(static_cast<int64_t>(random() % 5));
    for (int i = 0; i < 3; ++i) {
      d = d + Dim(static_cast<int64_t>(random() % 5) - 2) * (random() % 2 ? n : m) *
                  (random() % 2 ? n : Dim(1));
    }
    return d;
  };
  for (int round = 0; round < 500; ++round) {
    const Dim a = polynomial(), b = polynomial(), c = polynomial();
    EXPECT_EQ(a + b, b + a);
    EXPECT_EQ(a * b, b * a);
    EXPECT_EQ((a + b) + c, a + (b + c));
    EXPECT_EQ((a * b) * c, a * (b * c));
    EXPECT_EQ(a * (b + c), a * b + a * c);
    EXPECT_EQ(a - a, Dim(0));
  }
}

TEST(Shape, TextParsesBack) {
  const Shape shape{n, 28, floor_div(m, 2)};
  EXPECT_EQ(to_text(shape), "[n,28,(m//2)]");
  EXPECT_EQ(Shape::parse(to_text(shape)), shape);
  EXPECT_EQ(to_text(Shape{}), "[]");
  EXPECT_EQ(Shape::parse("[]"), Shape());
  EXPECT_EQ(to_text(Type::parse("bf16[n,3]")), "bf16[n,3]");
  for (const char* text : {"", "[", "]", "[1", "1]", "[1,]", "[,1]", "[1,,2]", "[1]]"}) {
    EXPECT_THROW(Shape::parse(text), GraphError) << text;
  }
  EXPECT_EQ(error_of([] { Type::parse("f33[1]"); }), "unknown element type 'f33'");
  EXPECT_EQ(error_of([] { Type::parse("f32"); }), "not a tensor type: 'f32'");
}

TEST(Shape, RefusesWhatCannotBe) {
  EXPECT_EQ(error_of([] { Shape{2, -1}; }), "negative dimension -1");
  EXPECT_EQ(error_of([] { Shape::of(std::vector<int64_t>(9, 1)); }),
            "a shape has at most 8 dimensions, not 9");
  EXPECT_EQ(error_of([] {
              Shape{int64_t{1} << 32, int64_t{1} << 31};
            }),
            "the element count of the shape overflows 64 bits");
  EXPECT_EQ((Shape{int64_t{1} << 32, int64_t{1} << 32, 0}.element_count()), Dim(0));
  EXPECT_EQ(error_of([] { Shape{2}[1]; }), "axis 1 is out of range for [2]");
  EXPECT_EQ(error_of([] { Shape()[0]; }), "axis 0 is out of range for []");
}

TEST(Shape, Sizes) {
  EXPECT_EQ(Shape().element_count(), Dim(1));
  EXPECT_EQ((Shape{n, 2, m}.element_count()), 2 * m * n);
  EXPECT_TRUE(Shape{2}.is_static());
  EXPECT_FALSE(Shape{n}.is_static());
  EXPECT_EQ((Shape{n, 2}.substitute({{"n", 5}})), Shape::of({5, 2}));
  EXPECT_THROW((Shape{n - 3}.substitute({{"n", 2}})), GraphError);
  EXPECT_THROW(Shape{n}.static_dims(), GraphError);
}

TEST(Shape, Axes) {
  EXPECT_EQ(normalize_axis(-1, 3), 2);
  EXPECT_EQ(normalize_axes({-1, 0}, 3), (std::vector<int>{0, 2}));
  EXPECT_EQ(normalize_axes({}, 2), (std::vector<int>{0, 1}));
  EXPECT_EQ(error_of([] { normalize_axis(3, 3); }), "axis 3 is out of range for rank 3");
  EXPECT_EQ(error_of([] { normalize_axis(-4, 3); }), "axis -4 is out of range for rank 3");
  EXPECT_EQ(error_of([] { normalize_axis(0, 0); }), "axis 0 is out of range for rank 0");
  EXPECT_EQ(error_of([] { normalize_axes({1, -2}, 3); }), "axis 1 is named twice");
}

TEST(Shape, Broadcasting) {
  EXPECT_EQ(broadcast_shapes({n, 1, 3}, {4, 1}), (Shape{n, 4, 3}));
  EXPECT_EQ(broadcast_shapes({}, {n}), Shape{n});
  EXPECT_EQ(broadcast_shapes({1}, {0}), Shape{0});
  EXPECT_EQ(broadcast_shapes({n, 1}, {n}), (Shape{n, n}));
  EXPECT_EQ(error_of([] {
              broadcast_shapes({2, 3}, {2, 4});
            }),
            "shapes do not broadcast: [2,3] and [2,4] (3 and 4)");
  EXPECT_EQ(error_of([] { broadcast_shapes({n}, {m}); }),
            "shapes do not broadcast: [n] and [m] (n and m)");
}

TEST(Shape, Instances) {
  EXPECT_TRUE(is_instance(Type::parse("f32[5,2]"), Type::parse("f32[n,2]")));
  EXPECT_TRUE(is_instance(Type::parse("f32[n,2]"), Type::parse("f32[n,2]")));
  EXPECT_FALSE(is_instance(Type::parse("f32[5,3]"), Type::parse("f32[n,2]")));
  EXPECT_FALSE(is_instance(Type::parse("f32[5]"), Type::parse("f32[n,2]")));
  EXPECT_FALSE(is_instance(Type::parse("f64[5,2]"), Type::parse("f32[n,2]")));
}

}  // namespace
}  // namespace adjoint
