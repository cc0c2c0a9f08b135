#include <cmath>

#include "ops/elementwise.h"
#include "tests/op_cases/op_case.h"

namespace adjoint::testing {
namespace {

using Unary = Value (*)(Located);
using Binary = Value (*)(Located, Value);

std::function<Values(const Build&)> unary(Unary f) {
  return [f](const Build& b) -> Values { return {f(b[0])}; };
}
std::function<Values(const Build&)> binary(Binary f) {
  return [f](const Build& b) -> Values { return {f(b[0], b[1])}; };
}

// Several shapes, and the special values.
void add_unary(Cases& cases, const std::string& op, std::function<Values(const Build&)> f,
               const Domain& domain, const std::string& suffix = "") {
  cases.push_back({op, "matrix" + suffix, {{"f32[b,5]", domain}}, f, {"f32[b,5]"}});
  cases.push_back({op, "scalar" + suffix, {{"f32[]", domain}}, f, {"f32[]"}});
  cases.push_back({op, "rank5" + suffix, {{"f32[2,b,1,3,7]", domain}}, f, {"f32[2,b,1,3,7]"}});
  cases.push_back({op, "empty" + suffix, {{"f32[b,0]", domain}}, f, {"f32[b,0]"}});
  cases.push_back({.op = op,
                   .name = "specials" + suffix,
                   .operands = {{"f32[b,13]", specials()}},
                   .build = f,
                   .gradient = false});
}

Cases float_unary_cases() {
  Cases cases;
  const Domain any = uniform(-3, 3), no_zero = away_from({0});
  add_unary(cases, "neg", unary(neg), any);
  add_unary(cases, "abs", unary(adjoint::abs), no_zero);
  add_unary(cases, "sign", unary(sign), no_zero);
  add_unary(cases, "square", unary(square), any);
  add_unary(cases, "exp", unary(adjoint::exp), any);
  add_unary(cases, "expm1", unary(adjoint::expm1), any);
  add_unary(cases, "log", unary(adjoint::log), positive());
  add_unary(cases, "log1p", unary(adjoint::log1p), uniform(-0.8, 3));
  add_unary(cases, "sqrt", unary(adjoint::sqrt), positive());
  add_unary(cases, "rsqrt", unary(rsqrt), positive());
  add_unary(cases, "reciprocal", unary(reciprocal), away_from({0, 0.1, -0.1}));
  add_unary(cases, "sin", unary(adjoint::sin), uniform(-8, 8));
  add_unary(cases, "cos", unary(adjoint::cos), uniform(-8, 8));
  add_unary(cases, "tanh", unary(adjoint::tanh), any);
  add_unary(cases, "sigmoid", unary(sigmoid), uniform(-6, 6));
  add_unary(cases, "softplus", unary(softplus), uniform(-6, 6));
  add_unary(cases, "relu", unary(relu), no_zero);
  add_unary(cases, "silu", unary(silu), uniform(-6, 6));
  add_unary(cases, "softsign", unary(softsign), any);
  add_unary(cases, "erf", unary(adjoint::erf), any);
  add_unary(cases, "floor", unary(adjoint::floor), away_from({-2, -1, 0, 1, 2}, -2.5, 2.5));
  const auto leaky = [](const Build& b) -> Values { return {leaky_relu(b[0], 0.2)}; };
  add_unary(cases, "leaky_relu", leaky, no_zero);
  add_unary(
      cases, "elu", [](const Build& b) -> Values { return {elu(b[0], 1.5)}; }, no_zero);
  add_unary(
      cases, "gelu", [](const Build& b) -> Values { return {gelu(b[0])}; }, any);
  const auto gelu_tanh = [](const Build& b) -> Values { return {gelu(b[0], true)}; };
  add_unary(cases, "gelu", gelu_tanh, any, "_tanh");
  const auto clamped = [](const Build& b) -> Values { return {clamp(b[0], -0.5, 1.25)}; };
  add_unary(cases, "clamp", clamped, away_from({-0.5, 1.25}));
  return cases;
}

// Wide ranges: where a shortcut (a series, a clamped argument, tanh for sigmoid) loses precision.
Cases wide_cases() {
  Cases cases;
  const std::vector<double> wide = {-80,  -30,   -20,  -12,  -9.5, -5,  -1e-3, -1e-6, 1e-6,
                                    1e-3, 0.125, 0.99, 1.01, 5,    9.5, 12,    30,    80};
  const std::pair<const char*, Unary> functions[] = {
      {"exp", adjoint::exp},     {"expm1", adjoint::expm1},
      {"tanh", adjoint::tanh},   {"sigmoid", sigmoid},
      {"softplus", softplus},    {"erf", adjoint::erf},
      {"log1p", adjoint::log1p}, {"log", adjoint::log},
      {"sin", adjoint::sin},     {"silu", silu},
      {"cos", adjoint::cos}};
  for (const auto& [op, f] : functions) {
    cases.push_back({.op = op,
                     .name = "wide",
                     .operands = {{"f32[b,18]", listed(wide)}},
                     .build = unary(f),
                     .gradient = false,
                     .batch = 2});
  }
  return cases;
}

Cases integer_cases() {
  Cases cases;
  const std::vector<double> small = {0, 1, 2, 7, 100, 200, 255};
  const std::vector<double> i32 = {0, 1, -1, 7, -100, 2147483647.0, -2147483648.0, 65537};
  const std::vector<double> i64 = {0, 1, -1, 7, -100, 4294967296.0, -9223372036854775808.0, 65537};
  const std::tuple<const char*, std::vector<double>> types[] = {
      {"u8", small}, {"i32", i32}, {"i64", i64}};
  const std::pair<const char*, Unary> unaries[] = {
      {"neg", neg}, {"abs", adjoint::abs}, {"sign", sign}, {"square", square}};
  const std::pair<const char*, Binary> binaries[] = {{"add", add},         {"sub", sub},
                                                     {"mul", mul},         {"div", adjoint::div},
                                                     {"maximum", maximum}, {"minimum", minimum}};
  for (const auto& [type, values] : types) {
    const std::string x = std::string(type) + "[b,8]", row = std::string(type) + "[8]";
    for (const auto& [op, f] : unaries) {
      cases.push_back(exact_case(op, type, {{x, listed(values)}}, unary(f), {x}));
    }
    for (const auto& [op, f] : binaries) {
      cases.push_back(
          exact_case(op, type, {{x, listed(values)}, {row, listed(values)}}, binary(f), {x}));
    }
  }
  return cases;
}

// What every broadcasting op of two operands is tried with.
struct Pair {
  const char *name, *a, *b, *result;
};
constexpr Pair kPairs[] = {{"same", "[b,5]", "[b,5]", "[b,5]"},
                           {"row", "[b,5]", "[5]", "[b,5]"},
                           {"outer", "[b,1]", "[1,5]", "[b,5]"},
                           {"scalar", "[]", "[b,3]", "[b,3]"},
                           {"scalars", "[]", "[]", "[]"},
                           {"ranks", "[2,b,1,4]", "[b,3,1]", "[2,b,3,4]"},
                           {"column", "[b,4,1]", "[b,4,6]", "[b,4,6]"},
                           {"rank5", "[2,1,b,1,3]", "[1,2,1,2,1]", "[2,2,b,2,3]"},
                           {"empty", "[0,3]", "[3]", "[0,3]"},
                           {"empty_outer", "[1,0]", "[b,1]", "[b,0]"}};

void add_binary(Cases& cases, const std::string& op, Binary f, const Domain& a, const Domain& b,
                bool gradient = true, const std::string& result = "f32") {
  for (const Pair& pair : kPairs) {
    cases.push_back(
        {.op = op,
         .name = pair.name,
         .operands = {{std::string("f32") + pair.a, a}, {std::string("f32") + pair.b, b}},
         .build = binary(f),
         .results = {result + pair.result},
         .gradient = gradient});
  }
  cases.push_back({.op = op,
                   .name = "specials",
                   .operands = {{"f32[b,13,1]", specials()}, {"f32[13]", specials()}},
                   .build = binary(f),
                   .gradient = false,
                   .batch = 1});
}

Cases binary_cases() {
  Cases cases;
  const Domain any = uniform(-2, 2);
  add_binary(cases, "add", add, any, any);
  add_binary(cases, "sub", sub, any, any);
  add_binary(cases, "mul", mul, any, any);
  add_binary(cases, "div", adjoint::div, any, away_from({0, 0.1, -0.1}));
  add_binary(cases, "pow", adjoint::pow, positive(), any);
  add_binary(cases, "maximum", maximum, any, any);
  add_binary(cases, "minimum", minimum, any, any);
  add_binary(cases, "relu_grad", relu_grad, any, away_from({0}));
  return cases;
}

Cases compare_cases() {
  Cases cases;
  const std::pair<const char*, Binary> compares[] = {
      {"equal", adjoint::equal},     {"not_equal", not_equal},
      {"less", adjoint::less},       {"less_equal", adjoint::less_equal},
      {"greater", adjoint::greater}, {"greater_equal", adjoint::greater_equal}};
  const Domain few = listed({-1, 0, 1, 0.5, 0, -0.0, 2});
  for (const auto& [op, f] : compares) {
    add_binary(cases, op, f, few, few, false, "bool");
    for (const char* type : {"u8", "i32", "i64"}) {
      const std::string x = std::string(type) + "[b,5]";
      cases.push_back(exact_case(op, type, {{x, integers(0, 3)}, {x, integers(0, 3)}}, binary(f),
                                 {"bool[b,5]"}));
    }
  }
  const std::pair<const char*, Binary> logicals[] = {{"logical_and", adjoint::logical_and},
                                                     {"logical_or", adjoint::logical_or},
                                                     {"logical_xor", logical_xor},
                                                     {"equal", adjoint::equal},
                                                     {"not_equal", not_equal}};
  for (const auto& [op, f] : logicals) {
    for (const Pair& pair : kPairs) {
      const std::string a = std::string("bool") + pair.a, b = std::string("bool") + pair.b;
      cases.push_back(exact_case(op, std::string("bool_") + pair.name,
                                 {{a, booleans()}, {b, booleans()}}, binary(f),
                                 {std::string("bool") + pair.result}));
    }
  }
  return cases;
}

Cases select_cases() {
  const auto f = [](const Build& b) -> Values { return {select(b[0], b[1], b[2])}; };
  const Domain any = uniform(-2, 2);
  return {
      {"select", "same", {{"bool[b,5]", booleans()}, {"f32[b,5]"}, {"f32[b,5]"}}, f, {"f32[b,5]"}},
      {"select", "broadcast", {{"bool[b,1]", booleans()}, {"f32[5]"}, {"f32[]"}}, f, {"f32[b,5]"}},
      {"select",
       "ranks",
       {{"bool[3]", booleans()}, {"f32[2,b,1]"}, {"f32[b,3]"}},
       f,
       {"f32[2,b,3]"}},
      {"select", "scalars", {{"bool[]", booleans()}, {"f32[]"}, {"f32[]"}}, f, {"f32[]"}},
      {"select", "empty", {{"bool[0]", booleans()}, {"f32[b,1]"}, {"f32[]"}}, f, {"f32[b,0]"}},
      {.op = "select",
       .name = "specials",
       .operands = {{"bool[b,13]", booleans()}, {"f32[13]", specials()}, {"f32[b,1]", specials()}},
       .build = f,
       .gradient = false},
      exact_case(
          "select", "i64",
          {{"bool[b,5]", booleans()}, {"i64[5]", integers(-9, 9)}, {"i64[b,1]", integers(-9, 9)}},
          f, {"i64[b,5]"}),
      exact_case(
          "select", "u8",
          {{"bool[b,5]", booleans()}, {"u8[5]", integers(0, 255)}, {"u8[]", integers(0, 255)}}, f,
          {"u8[b,5]"}),
      exact_case("select", "bool",
                 {{"bool[b,5]", booleans()}, {"bool[5]", booleans()}, {"bool[b,1]", booleans()}}, f,
                 {"bool[b,5]"}),
  };
}

// Every type to every type, with what does not fit.
Cases cast_cases() {
  Cases cases;
  const Domain floats =
      listed({0,    -0.0, 1,    -1,    0.5,      -0.5,      1.5, 2.5,   -2.5,  254.6,     256,
              -3e9, 3e9,  1e19, -1e19, INFINITY, -INFINITY, NAN, 65519, 65520, 1.00390625});
  const Domain whole = listed({0, 1, -1, 127, 255, 256, -129, 16777217, 2147483647, -2147483648.0});
  for (DType from : kAllDTypes) {
    for (DType to : kAllDTypes) {
      const std::string x = std::string(name(from)) + "[b,7]";
      const Domain domain = is_float(from) ? floats : from == DType::boolean ? booleans() : whole;
      cases.push_back(exact_case("cast", std::string(name(from)) + "_to_" + std::string(name(to)),
                                 {{x, domain}},
                                 [to](const Build& b) -> Values { return {cast(b[0], to)}; },
                                 {std::string(name(to)) + "[b,7]"}));
    }
  }
  cases.push_back({"cast",
                   "gradient",
                   {{"f32[b,4]"}},
                   [](const Build& b) -> Values { return {cast(b[0], DType::f64)}; },
                   {"f64[b,4]"}});
  return cases;
}

}  // namespace

Cases elementwise_cases() {
  Cases cases = float_unary_cases();
  for (Cases (*part)() :
       {wide_cases, integer_cases, binary_cases, compare_cases, select_cases, cast_cases}) {
    for (OpCase& op_case : part()) cases.push_back(std::move(op_case));
  }
  cases.push_back({.op = "is_finite",
                   .name = "specials",
                   .operands = {{"f32[b,13]", specials()}},
                   .build = unary(is_finite),
                   .results = {"bool[b,13]"},
                   .gradient = false});
  cases.push_back({.op = "is_finite",
                   .name = "scalar",
                   .operands = {{"f32[]"}},
                   .build = unary(is_finite),
                   .results = {"bool[]"},
                   .gradient = false});
  cases.push_back(exact_case("logical_not", "matrix", {{"bool[b,5]", booleans()}},
                             unary(adjoint::logical_not), {"bool[b,5]"}));
  for (const char* x : {"f32[b,5]", "f32[]", "f32[0]"}) {
    const std::string shape = std::to_string(cases.size());
    cases.push_back({.op = "stop_gradient",
                     .name = "float" + shape,
                     .operands = {{x, {}, /*differentiable=*/false}},
                     .build = unary(stop_gradient),
                     .results = {x}});
  }
  for (const auto& [name, x] : {std::pair("matrix", "f32[b,5]"),
                                {"scalar", "f32[]"},
                                {"empty", "f32[0]"},
                                {"large", "f32[b,300]"}}) {
    cases.push_back({"check_finite", name, {{x}}, unary(check_finite), {x}});
  }
  cases.push_back(exact_case("stop_gradient", "bool", {{"bool[b,5]", booleans()}},
                             unary(stop_gradient), {"bool[b,5]"}));
  return cases;
}

}  // namespace adjoint::testing
