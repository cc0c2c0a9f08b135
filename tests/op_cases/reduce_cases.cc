#include "ops/reduce.h"
#include "tests/op_cases/op_case.h"

namespace adjoint::testing {
namespace {

using Reduction = Value (*)(Located, std::vector<int64_t>, bool);
using ArgReduction = Value (*)(Located, int64_t, bool);

struct Axes {
  const char* name;
  const char* x;
  std::vector<int64_t> axes;
  bool keep;
  const char* result;
};

const std::vector<Axes>& all_axes() {
  static const std::vector<Axes> kAxes = {
      {"all", "[b,5]", {}, false, "[]"},
      {"all_keep", "[b,5]", {}, true, "[1,1]"},
      {"rows", "[b,5]", {1}, false, "[b]"},
      {"columns", "[b,5]", {0}, false, "[5]"},
      {"columns_keep", "[b,5]", {0}, true, "[1,5]"},
      {"last_keep", "[b,4,6]", {-1}, true, "[b,4,1]"},
      {"middle", "[b,4,6]", {1}, false, "[b,6]"},
      {"outer_two", "[b,4,6]", {2, 0}, false, "[4]"},
      {"batch_norm", "[b,3,4,5]", {0, 1, 2}, false, "[5]"},
      {"rank5", "[2,b,1,3,2]", {1, 3}, true, "[2,1,1,1,2]"},
      {"scalar", "[]", {}, false, "[]"},
      {"ones", "[b,1]", {1}, false, "[b]"},
      {"to_empty", "[0,5]", {1}, false, "[0]"},
      {"long_row", "[b,1037]", {1}, false, "[b]"},
      {"even_rows", "[b,24]", {1}, false, "[b]"},  // several elements make up 16 bytes
      {"even_columns", "[b,24]", {0}, false, "[24]"},
  };
  return kAxes;
}

void add_reduction(Cases& cases, const std::string& op, Reduction f, const Domain& domain) {
  for (const Axes& axes : all_axes()) {
    cases.push_back(
        {op,
         axes.name,
         {{std::string("f32") + axes.x, domain}},
         [f, axes](const Build& b) -> Values { return {f(b[0], axes.axes, axes.keep)}; },
         {std::string("f32") + axes.result}});
  }
  const auto all = [f](const Build& b) -> Values { return {f(b[0], {}, false)}; };
  const auto rows = [f](const Build& b) -> Values { return {f(b[0], {1}, false)}; };
  // Of nothing: the gradient has no elements, but for the value there is a definition.
  cases.push_back({.op = op,
                   .name = "of_nothing",
                   .operands = {{"f32[b,0]"}},
                   .build = rows,
                   .results = {"f32[b]"},
                   .gradient = false});
  cases.push_back({.op = op,
                   .name = "of_nothing_at_all",
                   .operands = {{"f32[0,4]"}},
                   .build = all,
                   .results = {"f32[]"},
                   .gradient = false});
  cases.push_back({.op = op,
                   .name = "specials",
                   .operands = {{"f32[13,b]", specials()}},
                   .build = rows,
                   .gradient = false,
                   .batch = 2});
}

Cases float_cases() {
  Cases cases;
  const Domain any = uniform(-2, 2);
  add_reduction(cases, "sum", sum, any);
  add_reduction(cases, "mean", mean, any);
  add_reduction(cases, "max", adjoint::max, distinct());
  add_reduction(cases, "min", adjoint::min, distinct());
  add_reduction(cases, "variance", variance, any);
  add_reduction(cases, "logsumexp", logsumexp, any);
  // Near 1, so that a thousand of them have a product.
  add_reduction(cases, "prod", prod, uniform(0.95, 1.06));
  return cases;
}

// Values where careless formulas lose all digits, or where ties and zeros decide. (The product's
// gradient of the gradient is documented as wrong at zeros.)
Cases hard_cases() {
  const auto rows = [](Reduction f) -> std::function<Values(const Build&)> {
    return [f](const Build& b) -> Values { return {f(b[0], {1}, false)}; };
  };
  const Domain ties = listed({1, 2, 2, -1, 2, 0, 1});
  return {
      {.op = "variance",
       .name = "far_from_zero",
       .operands = {{"f32[b,50]", uniform(999, 1001)}},
       .build = rows(variance),
       .gradient = false},
      {.op = "logsumexp",
       .name = "large",
       .operands = {{"f32[b,50]", uniform(500, 520)}},
       .build = rows(logsumexp)},
      {.op = "logsumexp",
       .name = "very_negative",
       .operands = {{"f32[b,5]", uniform(-1000, -990)}},
       .build = rows(logsumexp)},
      {.op = "max",
       .name = "ties",
       .operands = {{"f32[b,7]", ties}},
       .build = rows(adjoint::max),
       .gradient = false},
      {.op = "min",
       .name = "ties",
       .operands = {{"f32[b,7]", ties}},
       .build = rows(adjoint::min),
       .gradient = false},
      {.op = "prod",
       .name = "one_zero",
       .operands = {{"f32[b,4]", listed({2, 0, -1.5, 3})}},
       .build = rows(prod),
       .second_order = false},
      {.op = "prod",
       .name = "two_zeros",
       .operands = {{"f32[b,4]", listed({2, 0, 0, 3})}},
       .build = rows(prod),
       .second_order = false},
  };
}

Cases integer_cases() {
  Cases cases;
  const std::pair<const char*, Reduction> reductions[] = {
      {"sum", sum}, {"max", adjoint::max}, {"min", adjoint::min}, {"prod", prod}};
  for (const auto& [op, f] : reductions) {
    for (const std::string type : {"u8", "i32", "i64"}) {
      const Domain domain = type == "u8" ? integers(0, 255) : integers(-40000, 40000);
      const auto rows = [f = f](const Build& b) -> Values { return {f(b[0], {1}, false)}; };
      const auto all = [f = f](const Build& b) -> Values { return {f(b[0], {}, true)}; };
      cases.push_back(
          exact_case(op, type + "_rows", {{type + "[b,6]", domain}}, rows, {type + "[b]"}));
      cases.push_back(
          exact_case(op, type + "_all", {{type + "[b,6]", domain}}, all, {type + "[1,1]"}));
      cases.push_back(
          exact_case(op, type + "_of_nothing", {{type + "[b,0]", domain}}, rows, {type + "[b]"}));
    }
  }
  return cases;
}

Cases arg_cases() {
  Cases cases;
  const std::pair<const char*, ArgReduction> reductions[] = {{"argmax", argmax},
                                                             {"argmin", argmin}};
  for (const auto& [op, f] : reductions) {
    const auto along = [f = f](int64_t axis, bool keep) -> std::function<Values(const Build&)> {
      return [=](const Build& b) -> Values { return {f(b[0], axis, keep)}; };
    };
    const auto add = [&](const char* name, Operand x, int64_t axis, bool keep, const char* result) {
      cases.push_back({.op = op,
                       .name = name,
                       .operands = {x},
                       .build = along(axis, keep),
                       .results = {result},
                       .gradient = false});
    };
    const Domain ties = listed({1, 2, 2, -1, 2, 0, 1, -1});
    add("rows", {"f32[b,10]", distinct()}, 1, false, "i64[b]");
    add("columns", {"f32[b,10]", distinct()}, 0, true, "i64[1,10]");
    add("middle", {"f32[b,4,3]", distinct()}, -2, false, "i64[b,3]");
    add("even_rows", {"f32[b,24]", distinct()}, 1, false, "i64[b]");
    add("even_columns", {"f32[b,24]", distinct()}, 0, false, "i64[24]");
    add("ties", {"f32[b,8]", ties}, -1, false, "i64[b]");
    add("specials", {"f32[13,b]", specials()}, 1, false, "i64[13]");
    add("one", {"f32[b,1]"}, 1, false, "i64[b]");
    add("no_rows", {"f32[0,3]"}, 1, false, "i64[0]");
    add("u8", {"u8[b,9]", integers(0, 255)}, 1, false, "i64[b]");
    add("i32", {"i32[b,9]", integers(-4, 4)}, 1, false, "i64[b]");
    add("i64", {"i64[b,9]", integers(-4, 4)}, 1, true, "i64[b,1]");
  }
  return cases;
}

}  // namespace

Cases reduce_cases() {
  Cases cases = float_cases();
  for (Cases (*part)() : {hard_cases, integer_cases, arg_cases}) {
    for (OpCase& op_case : part()) cases.push_back(std::move(op_case));
  }
  return cases;
}

}  // namespace adjoint::testing
