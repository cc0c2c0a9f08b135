#include "ops/shape.h"
#include "tests/op_cases/op_case.h"

namespace adjoint::testing {
namespace {

using Builder = std::function<Values(const Build&)>;

// The same case for a float, an integer and a boolean: shape ops move any element.
void add_any_type(Cases& cases, OpCase op_case) {
  cases.push_back(op_case);
  for (const std::string type : {"u8", "i64", "bool"}) {
    OpCase other = op_case;
    other.name += "_" + type;
    for (Operand& operand : other.operands) {
      operand.type.replace(0, 3, type);
      operand.domain = type == "bool" ? booleans() : integers(0, 200);
    }
    for (std::string& result : other.results) result.replace(0, 3, type);
    other.gradient = false;
    cases.push_back(other);
  }
}

Cases reshape_cases() {
  Cases cases;
  add_any_type(cases, {"reshape",
                       "flatten",
                       {{"f32[b,4,3]"}},
                       [](const Build& b) -> Values {
                         return {reshape(b[0], {b.dim(0, 0), 12})};
                       },
                       {"f32[b,12]"}});
  cases.push_back({"reshape",
                   "rest",
                   {{"f32[b,4,3]"}},
                   [](const Build& b) -> Values {
                     return {reshape(b[0], {2, -1, 3})};
                   },
                   {},
                   true,
                   true,
                   false,
                   4});
  cases.push_back({"reshape",
                   "batch_rest",
                   {{"f32[b,2,6]"}},
                   [](const Build& b) -> Values {
                     return {reshape(b[0], {b.dim(0, 0), -1})};
                   },
                   {"f32[b,12]"}});
  cases.push_back({"reshape",
                   "scalar",
                   {{"f32[1,1]"}},
                   [](const Build& b) -> Values { return {reshape(b[0], Shape{})}; },
                   {"f32[]"}});
  cases.push_back({"reshape",
                   "from_scalar",
                   {{"f32[]"}},
                   [](const Build& b) -> Values {
                     return {reshape(b[0], {1, 1, 1})};
                   },
                   {"f32[1,1,1]"}});
  cases.push_back({"reshape",
                   "empty",
                   {{"f32[b,0,3]"}},
                   [](const Build& b) -> Values {
                     return {reshape(b[0], {0, 7})};
                   },
                   {"f32[0,7]"}});
  return cases;
}

Cases transpose_cases() {
  const auto by = [](std::vector<int64_t> permutation) -> Builder {
    return [=](const Build& b) -> Values { return {transpose(b[0], permutation)}; };
  };
  Cases cases;
  add_any_type(cases, {"transpose", "matrix", {{"f32[b,5]"}}, by({1, 0}), {"f32[5,b]"}});
  add_any_type(cases, {"transpose", "cycle", {{"f32[b,2,7]"}}, by({1, 2, 0}), {"f32[2,7,b]"}});
  cases.push_back(
      {"transpose", "nhwc_to_nchw", {{"f32[b,4,5,3]"}}, by({0, 3, 1, 2}), {"f32[b,3,4,5]"}});
  cases.push_back(
      {"transpose", "rank5", {{"f32[2,b,1,3,5]"}}, by({4, 2, 0, 3, 1}), {"f32[5,1,2,3,b]"}});
  cases.push_back({"transpose", "negative", {{"f32[b,2,7]"}}, by({-1, 0, 1}), {"f32[7,b,2]"}});
  cases.push_back({"transpose", "identity", {{"f32[b,4]"}}, by({0, 1}), {"f32[b,4]"}});
  cases.push_back({"transpose", "scalar", {{"f32[]"}}, by({}), {"f32[]"}});
  cases.push_back({"transpose", "empty", {{"f32[b,0,2]"}}, by({2, 0, 1}), {"f32[2,b,0]"}});
  cases.push_back({"transpose",
                   "reversed",
                   {{"f32[b,2,7]"}},
                   [](const Build& b) -> Values { return {transpose(b[0])}; },
                   {"f32[7,2,b]"}});
  return cases;
}

Cases broadcast_cases() {
  Cases cases;
  add_any_type(cases, {"broadcast_to",
                       "row",
                       {{"f32[4]"}, {"f32[b]"}},
                       [](const Build& b) -> Values {
                         return {broadcast_to(b[0], {b.dim(1, 0), 4})};
                       },
                       {"f32[b,4]"}});
  const auto to = [](Shape shape) -> Builder {
    return [=](const Build& b) -> Values { return {broadcast_to(b[0], shape)}; };
  };
  cases.push_back({"broadcast_to", "inside", {{"f32[3,1,2]"}}, to({2, 3, 4, 2}), {"f32[2,3,4,2]"}});
  cases.push_back({"broadcast_to", "scalar", {{"f32[]"}}, to({2, 1, 3}), {"f32[2,1,3]"}});
  cases.push_back({"broadcast_to", "same", {{"f32[2,3]"}}, to({2, 3}), {"f32[2,3]"}});
  cases.push_back({"broadcast_to", "to_empty", {{"f32[1,3]"}}, to({0, 3}), {"f32[0,3]"}});
  cases.push_back(
      {"broadcast_to", "rank5", {{"f32[1,2,1,2]"}}, to({2, 3, 2, 3, 2}), {"f32[2,3,2,3,2]"}});
  const auto sum = [](Shape shape) -> Builder {
    return [=](const Build& b) -> Values { return {sum_to(b[0], shape)}; };
  };
  cases.push_back({"sum_to", "row", {{"f32[b,4]"}}, sum({4}), {"f32[4]"}});
  cases.push_back({"sum_to", "inside", {{"f32[2,b,4,3]"}}, sum({4, 1}), {"f32[4,1]"}});
  cases.push_back({"sum_to", "scalar", {{"f32[b,4]"}}, sum({}), {"f32[]"}});
  cases.push_back({"sum_to", "ones", {{"f32[b,4]"}}, sum({1, 1}), {"f32[1,1]"}});
  cases.push_back({"sum_to", "same", {{"f32[3,4]"}}, sum({3, 4}), {"f32[3,4]"}});
  cases.push_back({"sum_to", "of_empty", {{"f32[0,3]"}}, sum({3}), {"f32[3]"}});
  cases.push_back({"sum_to",
                   "column",
                   {{"f32[b,70]"}},
                   [](const Build& b) -> Values {
                     return {sum_to(b[0], {b.dim(0, 0), 1})};
                   },
                   {"f32[b,1]"}});
  cases.push_back(
      exact_case("sum_to", "i32", {{"i32[b,4]", integers(-9, 9)}}, sum({4}), {"i32[4]"}));
  cases.push_back(
      exact_case("sum_to", "u8_wraps", {{"u8[b,4]", integers(150, 200)}}, sum({4}), {"u8[4]"}));
  return cases;
}

Cases concat_cases() {
  const auto along = [](int64_t axis) -> Builder {
    return [=](const Build& b) -> Values {
      return {concat({b.operands.begin(), b.operands.end()}, axis)};
    };
  };
  const auto stacked = [](int64_t axis) -> Builder {
    return [=](const Build& b) -> Values {
      return {stack({b.operands.begin(), b.operands.end()}, axis)};
    };
  };
  Cases cases;
  add_any_type(
      cases,
      {"concat", "columns", {{"f32[b,2]"}, {"f32[b,5]"}, {"f32[b,1]"}}, along(1), {"f32[b,8]"}});
  cases.push_back({"concat", "rows", {{"f32[b,3]"}, {"f32[2,3]"}}, along(0), {"f32[b+2,3]"}});
  cases.push_back(
      {"concat", "negative", {{"f32[2,b,3]"}, {"f32[2,b,4]"}}, along(-1), {"f32[2,b,7]"}});
  cases.push_back({"concat", "one", {{"f32[b,3]"}}, along(0), {"f32[b,3]"}});
  cases.push_back({"concat",
                   "with_empty",
                   {{"f32[b,3]"}, {"f32[0,3]"}, {"f32[1,3]"}},
                   along(0),
                   {"f32[b+1,3]"}});
  cases.push_back(
      {"concat", "rank5", {{"f32[1,2,b,2,2]"}, {"f32[1,2,b,3,2]"}}, along(3), {"f32[1,2,b,5,2]"}});
  cases.push_back({"concat",
                   "itself",
                   {{"f32[b,3]"}},
                   [](const Build& b) -> Values {
                     return {concat({b[0], b[0]}, 1)};
                   },
                   {"f32[b,6]"}});
  cases.push_back(
      {"concat", "stacked_first", {{"f32[b,3]"}, {"f32[b,3]"}}, stacked(0), {"f32[2,b,3]"}});
  cases.push_back(
      {"concat", "stacked_last", {{"f32[b,3]"}, {"f32[b,3]"}}, stacked(-1), {"f32[b,3,2]"}});
  cases.push_back(
      {"concat", "stacked_scalars", {{"f32[]"}, {"f32[]"}, {"f32[]"}}, stacked(0), {"f32[3]"}});
  return cases;
}

Cases slice_cases() {
  const auto cut = [](Shape starts, Shape limits, std::vector<int64_t> steps = {}) -> Builder {
    return [=](const Build& b) -> Values { return {slice(b[0], starts, limits, steps)}; };
  };
  Cases cases;
  add_any_type(cases, {"slice", "inside", {{"f32[b,7]"}}, cut({1, 2}, {3, 6}), {"f32[2,4]"}});
  cases.push_back({"slice", "steps", {{"f32[5,9]"}}, cut({0, 1}, {5, 9}, {2, 3}), {"f32[3,3]"}});
  cases.push_back(
      {"slice", "step_beyond", {{"f32[5,3]"}}, cut({1, 0}, {4, 3}, {9, 2}), {"f32[1,2]"}});
  cases.push_back({"slice", "whole", {{"f32[3,4]"}}, cut({0, 0}, {3, 4}), {"f32[3,4]"}});
  cases.push_back({"slice", "nothing", {{"f32[3,4]"}}, cut({2, 1}, {2, 3}), {"f32[0,2]"}});
  cases.push_back({"slice", "scalar", {{"f32[]"}}, cut({}, {}), {"f32[]"}});
  cases.push_back({"slice",
                   "rank5",
                   {{"f32[2,3,2,4,3]"}},
                   cut({0, 1, 0, 1, 0}, {2, 3, 1, 4, 3}, {1, 1, 1, 2, 2}),
                   {"f32[2,2,1,2,2]"}});
  cases.push_back({"slice",
                   "batch",
                   {{"f32[b,4]"}},
                   [](const Build& b) -> Values {
                     return {slice(b[0], {0, 1}, {b.dim(0, 0), 3})};
                   },
                   {"f32[b,2]"}});
  cases.push_back({"slice",
                   "axis",
                   {{"f32[b,6,2]"}},
                   [](const Build& b) -> Values { return {slice_axis(b[0], -2, 1, 6, 2)}; },
                   {"f32[b,3,2]"}});
  return cases;
}

Cases pad_cases() {
  const auto padded = [](Shape low, Shape high, std::vector<int64_t> interior = {},
                         double value = 0) -> Builder {
    return [=](const Build& b) -> Values { return {pad(b[0], low, high, interior, value)}; };
  };
  Cases cases;
  add_any_type(cases, {"pad", "edges", {{"f32[b,3]"}}, padded({0, 1}, {0, 2}), {"f32[b,6]"}});
  cases.push_back(
      {"pad", "value", {{"f32[b,3]"}}, padded({1, 0}, {2, 1}, {}, -1.5), {"f32[b+3,4]"}});
  cases.push_back(
      {"pad", "interior", {{"f32[b,3]"}}, padded({0, 1}, {0, 0}, {0, 2}, 7), {"f32[b,8]"}});
  cases.push_back(
      {"pad", "interior_both", {{"f32[4,3]"}}, padded({1, 0}, {0, 1}, {1, 2}), {"f32[8,8]"}});
  cases.push_back({"pad", "nothing", {{"f32[b,3]"}}, padded({0, 0}, {0, 0}), {"f32[b,3]"}});
  cases.push_back(
      {"pad", "of_empty", {{"f32[0,3]"}}, padded({1, 0}, {1, 0}, {2, 0}, 4), {"f32[2,3]"}});
  cases.push_back({"pad", "scalar", {{"f32[]"}}, padded({}, {}), {"f32[]"}});
  cases.push_back({"pad",
                   "rank5",
                   {{"f32[1,2,2,1,3]"}},
                   padded({0, 1, 0, 2, 0}, {1, 0, 0, 0, 1}, {0, 0, 1, 0, 0}),
                   {"f32[2,3,3,3,4]"}});
  cases.push_back(exact_case("pad", "u8_value", {{"u8[b,3]", integers(0, 255)}},
                             padded({0, 1}, {0, 1}, {}, 200), {"u8[b,5]"}));
  return cases;
}

Cases split_cases() {
  const auto parts = [](int64_t axis, Shape sizes) -> Builder {
    return [=](const Build& b) -> Values { return split(b[0], axis, sizes); };
  };
  Cases cases;
  add_any_type(cases, {"split",
                       "columns",
                       {{"f32[b,7]"}},
                       parts(1, {2, 4, 1}),
                       {"f32[b,2]", "f32[b,4]", "f32[b,1]"}});
  cases.push_back({"split", "rows", {{"f32[5,3]"}}, parts(0, {2, 3}), {"f32[2,3]", "f32[3,3]"}});
  cases.push_back(
      {"split", "negative", {{"f32[b,2,6]"}}, parts(-1, {3, 3}), {"f32[b,2,3]", "f32[b,2,3]"}});
  cases.push_back(
      {"split", "with_empty", {{"f32[b,3]"}}, parts(1, {0, 3}), {"f32[b,0]", "f32[b,3]"}});
  cases.push_back({"split", "one", {{"f32[b,3]"}}, parts(1, {3}), {"f32[b,3]"}});
  return cases;
}

Cases axes_cases() {
  const auto squeezed = [](std::vector<int64_t> axes) -> Builder {
    return [=](const Build& b) -> Values { return {squeeze(b[0], axes)}; };
  };
  const auto expanded = [](std::vector<int64_t> axes) -> Builder {
    return [=](const Build& b) -> Values { return {expand_dims(b[0], axes)}; };
  };
  Cases cases;
  add_any_type(cases, {"squeeze", "middle", {{"f32[b,1,4]"}}, squeezed({1}), {"f32[b,4]"}});
  cases.push_back({"squeeze", "negative", {{"f32[1,b,1]"}}, squeezed({-1}), {"f32[1,b]"}});
  cases.push_back({"squeeze", "all", {{"f32[1,4,1,2,1]"}}, squeezed({}), {"f32[4,2]"}});
  cases.push_back({"squeeze", "to_scalar", {{"f32[1,1]"}}, squeezed({0, 1}), {"f32[]"}});
  cases.push_back({"squeeze", "empty", {{"f32[0,1]"}}, squeezed({1}), {"f32[0]"}});
  add_any_type(cases, {"expand_dims", "middle", {{"f32[b,4]"}}, expanded({1}), {"f32[b,1,4]"}});
  cases.push_back(
      {"expand_dims", "several", {{"f32[b,4]"}}, expanded({0, 2, 4}), {"f32[1,b,1,4,1]"}});
  cases.push_back({"expand_dims", "negative", {{"f32[b,4]"}}, expanded({-1}), {"f32[b,4,1]"}});
  cases.push_back({"expand_dims", "scalar", {{"f32[]"}}, expanded({0, 1}), {"f32[1,1]"}});
  const auto size = [](int64_t axis) -> Builder {
    return [=](const Build& b) -> Values { return {dim_size(b[0], axis)}; };
  };
  for (int64_t axis : {0, 1, -1}) {
    cases.push_back({.op = "dim_size",
                     .name = axis < 0 ? "last" : "axis" + std::to_string(axis),
                     .operands = {{"f32[b,4,b]"}},
                     .build = size(axis),
                     .results = {"i64[]"},
                     .gradient = false});
  }
  return cases;
}

}  // namespace

Cases shape_cases() {
  Cases cases;
  for (Cases (*part)() : {reshape_cases, transpose_cases, broadcast_cases, concat_cases,
                          slice_cases, pad_cases, split_cases, axes_cases}) {
    for (OpCase& op_case : part()) cases.push_back(std::move(op_case));
  }
  return cases;
}

}  // namespace adjoint::testing
