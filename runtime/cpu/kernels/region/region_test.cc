// Region bodies against plain loops in double, element by element: every way in which an operand
// can repeat, tiles of whole and of cut rows, several results, reductions, work in place.
#include "ops/region.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "runtime/cpu/kernels/region/limits.h"
#include "runtime/cpu/kernels/region/node_runner.h"
#include "runtime/cpu/kernels/region/program.h"

namespace adjoint::cpu {
namespace {

std::string numbered(std::string stem, size_t number) { return stem += std::to_string(number); }

using Body = std::function<std::vector<Value>(const std::vector<Value>&)>;

// A region node with this body on arguments of these types, in `block`.
Value make_region(Block& block, const std::vector<Type>& types, const Body& body) {
  auto inner = std::make_shared<Block>("region");
  std::vector<Value> arguments, operands;
  for (size_t i = 0; i < types.size(); ++i) {
    arguments.push_back(inner->argument(numbered("a", i), types[i]));
    operands.push_back(block.argument(numbered("x", i), types[i]));
  }
  const std::vector<Value> results = body(arguments);
  for (size_t i = 0; i < results.size(); ++i) inner->result(numbered("r", i), results[i]);
  return region(block, operands, inner);
}

// The element of a tensor that numpy's broadcasting puts at `index` of an array with these dims.
double element_at(const Literal& x, const std::vector<int64_t>& dims, int64_t index) {
  int64_t place = 0, stride = 1;
  for (size_t back = 1; back <= dims.size(); ++back) {
    const int64_t own = index % dims[dims.size() - back];
    index /= dims[dims.size() - back];
    if (back > x.dims().size()) continue;
    const int64_t size = x.dims()[x.dims().size() - back];
    place += (size == 1 ? 0 : own) * stride;
    stride *= size;
  }
  return x.at(place);
}

std::vector<Literal> normal_literals(const std::vector<std::vector<int64_t>>& shapes) {
  std::vector<Literal> all;
  for (const auto& dims : shapes) {
    all.push_back(normal_literal(DType::f32, dims, static_cast<int>(all.size()) + 1));
  }
  return all;
}
std::vector<Type> types_of(const std::vector<Literal>& literals) {
  std::vector<Type> types;
  for (const Literal& literal : literals) types.push_back(literal.type());
  return types;
}

// relu(a b + c) and a - c over operands that repeat in these ways, a and c together in none.
void check_broadcast(const std::vector<int64_t>& a_dims, const std::vector<int64_t>& b_dims,
                     const std::vector<int64_t>& c_dims) {
  const std::vector<Literal> x = normal_literals({a_dims, b_dims, c_dims});
  Block block("test");
  const Value y = make_region(block, types_of(x), [](const std::vector<Value>& v) {
    return std::vector{relu(v[0] * v[1] + v[2]), v[0] - v[2]};
  });
  const std::vector<Literal> got = run_node(y, x);
  const std::vector<int64_t>& dims = got[0].dims();
  for (int64_t i = 0; i < got[0].element_count(); ++i) {
    const double a = element_at(x[0], dims, i), b = element_at(x[1], dims, i);
    const double c = element_at(x[2], dims, i);
    ASSERT_NEAR(got[0].at(i), std::max(a * b + c, 0.0), 2e-6)
        << i << " of " << to_text(got[0].type());
    ASSERT_NEAR(got[1].at(i), a - c, 1e-6) << i << " of " << to_text(got[0].type());
  }
}

TEST(Region, OperandsRepeatInEveryWay) {
  check_broadcast({}, {}, {});
  check_broadcast({50000}, {50000}, {});
  check_broadcast({300, 24}, {24}, {300, 1});
  check_broadcast({5, 3000}, {3000}, {5, 1});
  check_broadcast({3000, 7}, {1, 7}, {3000, 1});
  check_broadcast({7, 1}, {1, 3000}, {7, 3000});
  check_broadcast({4, 6, 5, 8}, {4, 1, 1, 8}, {6, 1, 1});
  check_broadcast({4, 6, 5, 8}, {1, 6, 1, 8}, {4, 1, 5, 1});
  check_broadcast({40, 1, 30, 1}, {1, 20, 1, 9}, {20, 30, 9});
  check_broadcast({2, 3, 2, 1500}, {3, 1, 1500}, {2, 1, 2, 1});
  check_broadcast({2, 3, 2, 2, 2, 2, 2, 2}, {3, 1, 2, 1, 2, 1, 2}, {2, 3, 1, 2, 1, 2, 1, 1});
  check_broadcast({1, 1024}, {1024}, {1, 1});
  check_broadcast({3, 1025}, {1025}, {3, 1});
  check_broadcast({0, 4}, {4}, {0, 1});
  check_broadcast({1}, {1, 1}, {});
}

// Elementwise results, sums over rows, over columns and over everything from one pass.
TEST(Region, ReductionsBesideElementwiseResults) {
  for (const std::vector<int64_t>& dims :
       {std::vector<int64_t>{500, 24}, {6, 5000}, {70, 70}, {3000, 50}}) {
    const std::vector<Literal> x = normal_literals({dims, {dims[1]}});
    Block block("test");
    const Value y = make_region(block, types_of(x), [](const std::vector<Value>& v) {
      const Value d = v[0] - v[1];
      const Value s = square(d);
      return std::vector{sum(s, {0}),   d, mean(s, {1}, true), max(d), sum_to(d, {1, d.shape()[1]}),
                         sum(v[0], {0})};
    });
    const std::vector<Literal> got = run_node(y, x);
    std::vector<double> squares(dims[1]), rows(dims[0]), columns(dims[1]), plain(dims[1]);
    double top = -1e30;
    for (int64_t i = 0; i < dims[0] * dims[1]; ++i) {
      const double d = x[0].at(i) - x[1].at(i % dims[1]);
      ASSERT_NEAR(got[1].at(i), d, 1e-6);
      squares[i % dims[1]] += d * d;
      rows[i / dims[1]] += d * d / dims[1];
      columns[i % dims[1]] += d;
      plain[i % dims[1]] += x[0].at(i);
      top = std::max(top, d);
    }
    for (int64_t j = 0; j < dims[1]; ++j) {
      ASSERT_NEAR(got[0].at(j), squares[j], 1e-6 * squares[j] + 1e-5);
      ASSERT_NEAR(got[4].at(j), columns[j], 1e-6 * squares[j] + 1e-5);
      ASSERT_NEAR(got[5].at(j), plain[j], 1e-6 * squares[j] + 1e-5);
    }
    for (int64_t i = 0; i < dims[0]; ++i) ASSERT_NEAR(got[2].at(i), rows[i], 2e-6 * rows[i]);
    EXPECT_NEAR(got[3].at(0), top, 1e-6);
    EXPECT_EQ(got[2].dims(), (std::vector<int64_t>{dims[0], 1}));
    EXPECT_EQ(got[4].dims(), (std::vector<int64_t>{1, dims[1]}));
  }
}

TEST(Region, MixedElementTypes) {
  const Literal pixels =
      draw_literal(DType::u8, {70, 30}, [n = 0]() mutable { return n++ * 7 % 256; });
  const Literal weight = normal_literal(DType::bf16, {30}, 4);
  Block block("test");
  const Value y =
      make_region(block, {pixels.type(), weight.type()}, [](const std::vector<Value>& v) {
        const Value scaled = cast(v[0], DType::f32) * (1.0 / 256);
        const Value bright = greater(v[0], 99.0);
        return std::vector{select(bright, scaled, -scaled), bright,
                           cast(scaled, DType::bf16) * v[1]};
      });
  const std::vector<Literal> got = run_node(y, {pixels, weight});
  for (int64_t i = 0; i < 70 * 30; ++i) {
    const double pixel = pixels.at(i);
    ASSERT_EQ(got[0].at(i), (pixel > 99 ? 1 : -1) * pixel / 256);
    ASSERT_EQ(got[1].at(i), pixel > 99);
    // Both roundings to bf16 are within half a unit.
    ASSERT_NEAR(got[2].at(i), pixel / 256 * weight.at(i % 30),
                1.01 * spacing(DType::bf16, pixel / 256 * weight.at(i % 30)));
  }
}

TEST(Region, ResultsThatAreCopiesConstantsAndTwins) {
  const Literal x = normal_literal(DType::f32, {3}, 1);
  Block block("test");
  const Value y = make_region(block, {x.type()}, [](const std::vector<Value>& v) {
    const Value wide = broadcast_to(v[0], {400, 3});
    const Value twice = wide + wide;
    return std::vector{
        wide, twice, stop_gradient(twice),
        broadcast_to(constant(v[0].block(), Literal::scalar(DType::f32, 7)), {400, 3})};
  });
  const std::vector<Literal> got = run_node(y, {x});
  for (int64_t i = 0; i < 1200; ++i) {
    ASSERT_EQ(got[0].at(i), x.at(i % 3));
    ASSERT_EQ(got[1].at(i), 2 * x.at(i % 3));
    ASSERT_EQ(got[2].at(i), 2 * x.at(i % 3));
    ASSERT_EQ(got[3].at(i), 7);
  }
}

// More values alive at once than whole tiles have room for.
TEST(Region, ManyValuesAliveAtOnce) {
  const Literal x = draw_literal(DType::f64, {5000}, [n = 0]() mutable { return n++ * 1e-3; });
  Block block("test");
  const Value y = make_region(block, {x.type()}, [](const std::vector<Value>& v) {
    std::vector<Value> alive;
    for (int i = 0; i < 60; ++i) alive.push_back(v[0] * static_cast<double>(i));
    Value total = alive[0];
    for (int i = 1; i < 60; ++i) total = total + alive[60 - i];
    return std::vector{total};
  });
  const Literal got = run_node(y, {x})[0];
  for (int64_t i = 0; i < 5000; ++i) ASSERT_NEAR(got.at(i), x.at(i) * 59 * 30, 1e-9);
}

std::vector<std::pair<int, int>> in_place_of(const std::vector<Type>& types, const Body& body) {
  Block block("test");
  const Value y = make_region(block, types, body);
  return RegionProgram::compile(request_of(y))->in_place();
}

TEST(RegionInPlace, OnlyWhereReadsComeFirst) {
  using Values = const std::vector<Value>&;
  using Pairs = std::vector<std::pair<int, int>>;
  const Type t = {DType::f32, {50, 40}};
  // The update of a variable, over either tensor.
  EXPECT_EQ(in_place_of({t, t, {DType::f32, {}}},
                        [](Values v) { return std::vector{v[0] - v[2] * v[1]}; }),
            (Pairs{{0, 0}, {0, 1}}));
  // The first operand is read after the result is written.
  EXPECT_EQ(in_place_of({t, t},
                        [](Values v) {
                          const Value y = v[0] + v[1];
                          return std::vector{y, relu(v[0])};
                        }),
            (Pairs{{0, 1}, {1, 0}, {1, 1}}));
  // It is reduced at the end of the tile.
  EXPECT_EQ(in_place_of({t, t},
                        [](Values v) {
                          return std::vector{v[0] + v[1], sum(v[0])};
                        }),
            (Pairs{{0, 1}}));
  // Another element type, another shape, a broadcast operand.
  EXPECT_EQ(in_place_of({t, {DType::f32, {40}}},
                        [](Values v) { return std::vector{greater(v[0], v[1])}; }),
            Pairs{});
  EXPECT_EQ(in_place_of({t, {DType::f32, {1, 40}}},
                        [](Values v) { return std::vector{sum(v[0] + v[1], {0}, true)}; }),
            Pairs{});
}

// The same tensor may be two operands, one of them read late.
TEST(RegionInPlace, OperandsThatAreOneTensor) {
  const Type t = {DType::f32, {50}};
  auto inner = std::make_shared<Block>("region");
  const Value a = inner->argument("a", t), b = inner->argument("b", t);
  inner->result("r", neg(a));
  inner->result("s", exp(b));
  Block block("test");
  const Value x = block.argument("x", t), z = block.argument("z", t);
  using Pairs = std::vector<std::pair<int, int>>;
  EXPECT_EQ(RegionProgram::compile(request_of(region(block, {{x, x}}, inner)))->in_place(),
            (Pairs{{1, 0}, {1, 1}}));
  EXPECT_EQ(RegionProgram::compile(request_of(region(block, {{x, z}}, inner)))->in_place(),
            (Pairs{{0, 0}, {1, 0}, {1, 1}}));
}

TEST(RegionInPlace, GivesTheSameBits) {
  const Literal w = normal_literal(DType::f32, {300, 70}, 1),
                g = normal_literal(DType::f32, {300, 70}, 2);
  const Literal rate = Literal::scalar(DType::f32, 0.5);
  Block block("test");
  const Value y = make_region(block, types_of({w, g, rate}), [](const std::vector<Value>& v) {
    return std::vector{v[0] - v[2] * v[1]};
  });
  const Literal wanted = run_node(y, {w, g, rate})[0];
  const RegionProgram program = *RegionProgram::compile(request_of(y));
  ASSERT_EQ(program.in_place()[0], std::pair(0, 0));
  for (int target : {0, 1}) {
    std::vector<std::byte> buffers[] = {{w.data(), w.data() + w.byte_count()},
                                        {g.data(), g.data() + g.byte_count()}};
    const void* inputs[] = {buffers[0].data(), buffers[1].data(), rate.data()};
    void* outputs[] = {buffers[target].data()};
    Threads threads(2);
    program.run({inputs, outputs, nullptr, threads});
    EXPECT_EQ(Literal(DType::f32, {300, 70}, buffers[target]), wanted) << target;
  }
}

TEST(Region, RefusesWhatItCannotRun) {
  using Values = const std::vector<Value>&;
  const Type t = {DType::f32, {50, 40}};
  auto compiles = [&](const Body& body) {
    Block block("test");
    return RegionProgram::compile(request_of(make_region(block, {t, {DType::f32, {40}}}, body)))
        .has_value();
  };
  EXPECT_TRUE(compiles([](Values v) { return std::vector{v[0] + v[1]}; }));
  // Two iteration shapes.
  EXPECT_FALSE(compiles([](Values v) { return std::vector{v[0] + relu(v[1])}; }));
  // A reduction's result, read inside.
  EXPECT_FALSE(compiles([](Values v) { return std::vector{v[0] - mean(v[0])}; }));
  // An op that is no elementwise op.
  EXPECT_FALSE(compiles([](Values v) { return std::vector{transpose(v[0], {1, 0})}; }));
}

}  // namespace
}  // namespace adjoint::cpu
