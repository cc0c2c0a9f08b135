#include "ops/indexing.h"
#include "tests/op_cases/op_case.h"

namespace adjoint::testing {
namespace {

using Builder = std::function<Values(const Build&)>;

Cases gather_cases() {
  const auto along = [](int64_t axis) -> Builder {
    return [=](const Build& b) -> Values { return {gather(b[0], b[1], axis)}; };
  };
  const Domain four = integers(0, 3);
  return {
      {"gather", "rows", {{"f32[4,3]"}, {"i64[b]", four}}, along(0), {"f32[b,3]"}},
      {"gather", "columns", {{"f32[b,4]"}, {"i32[6]", four}}, along(1), {"f32[b,6]"}},
      {"gather",
       "matrix_of_indices",
       {{"f32[2,4,3]"}, {"i64[b,5]", four}},
       along(1),
       {"f32[2,b,5,3]"}},
      {"gather", "scalar_index", {{"f32[4,b]"}, {"u8[]", four}}, along(0), {"f32[b]"}},
      {"gather", "negative_axis", {{"f32[b,4]"}, {"i64[2]", four}}, along(-1), {"f32[b,2]"}},
      {"gather", "no_indices", {{"f32[4,3]"}, {"i64[0]", four}}, along(0), {"f32[0,3]"}},
      {"gather", "empty_rows", {{"f32[4,0]"}, {"i64[b]", four}}, along(0), {"f32[b,0]"}},
      {"gather", "rank5", {{"f32[1,2,4,2,b]"}, {"i64[3]", four}}, along(2), {"f32[1,2,3,2,b]"}},
      exact_case("gather", "u8_images", {{"u8[4,2,2]", integers(0, 255)}, {"i64[b]", four}},
                 along(0), {"u8[b,2,2]"}),
      exact_case("gather", "bool", {{"bool[4,3]", booleans()}, {"i64[b]", four}}, along(0),
                 {"bool[b,3]"}),
  };
}

Cases scatter_cases() {
  const auto along = [](int64_t axis) -> Builder {
    return [=](const Build& b) -> Values { return {scatter_add(b[0], b[1], b[2], axis)}; };
  };
  const Domain four = integers(0, 3);
  return {
      {"scatter_add",
       "rows",
       {{"f32[4,3]"}, {"i64[b]", four}, {"f32[b,3]"}},
       along(0),
       {"f32[4,3]"}},
      {"scatter_add",
       "columns",
       {{"f32[b,4]"}, {"i32[6]", four}, {"f32[b,6]"}},
       along(1),
       {"f32[b,4]"}},
      {"scatter_add",
       "repeated",
       {{"f32[4,2]"}, {"i64[b,5]", integers(1, 1)}, {"f32[b,5,2]"}},
       along(0),
       {"f32[4,2]"}},
      {"scatter_add",
       "scalar_index",
       {{"f32[4,b]"}, {"u8[]", four}, {"f32[b]"}},
       along(0),
       {"f32[4,b]"}},
      {"scatter_add",
       "no_updates",
       {{"f32[4,3]"}, {"i64[0]", four}, {"f32[0,3]"}},
       along(0),
       {"f32[4,3]"}},
      exact_case("scatter_add", "i64_counts",
                 {{"i64[4]", integers(0, 9)}, {"i64[b]", four}, {"i64[b]", integers(-3, 3)}},
                 along(0), {"i64[4]"}),
  };
}

Cases one_hot_cases() {
  const auto deep = [](Dim depth, DType dtype) -> Builder {
    return [=](const Build& b) -> Values { return {one_hot(b[0], depth, dtype)}; };
  };
  const Domain beyond = integers(-2, 6);  // outside 0 .. 4 as well
  Cases cases = {
      exact_case("one_hot", "labels", {{"i64[b]", beyond}}, deep(5, DType::f32), {"f32[b,5]"}),
      exact_case("one_hot", "matrix", {{"i32[b,3]", beyond}}, deep(5, DType::f64), {"f64[b,3,5]"}),
      exact_case("one_hot", "u8", {{"u8[b]", integers(0, 6)}}, deep(5, DType::bf16), {"bf16[b,5]"}),
      exact_case("one_hot", "scalar", {{"i64[]", beyond}}, deep(5, DType::i32), {"i32[5]"}),
      exact_case("one_hot", "to_bool", {{"i64[b]", beyond}}, deep(5, DType::boolean),
                 {"bool[b,5]"}),
      exact_case("one_hot", "depth0", {{"i64[b]", beyond}}, deep(0, DType::f16), {"f16[b,0]"}),
      exact_case("one_hot", "batch_depth", {{"i64[b]", beyond}},
                 [](const Build& b) -> Values { return {one_hot(b[0], b.dim(0, 0))}; },
                 {"f32[b,b]"}),
  };
  return cases;
}

Cases iota_cases() {
  Cases cases;
  const auto counted = [](Shape shape, int64_t axis, DType dtype) -> Builder {
    return [=](const Build& b) -> Values { return {iota(b.block, shape, axis, dtype)}; };
  };
  for (DType dtype : kAllDTypes) {
    if (dtype == DType::boolean) continue;
    cases.push_back(exact_case("iota", std::string(name(dtype)), {}, counted({3, 7, 2}, 1, dtype),
                               {std::string(name(dtype)) + "[3,7,2]"}));
  }
  cases.push_back(exact_case("iota", "last", {}, counted({3, 4}, -1, DType::i64), {"i64[3,4]"}));
  cases.push_back(exact_case("iota", "first", {}, counted({3, 4}, 0, DType::i64), {"i64[3,4]"}));
  cases.push_back(exact_case("iota", "empty", {}, counted({0}, 0, DType::i64), {"i64[0]"}));
  cases.push_back(exact_case("iota", "batch", {{"f32[b]"}},
                             [](const Build& b) -> Values {
                               return {iota(b.block, {b.dim(0, 0), 2})};
                             },
                             {"i64[b,2]"}));
  return cases;
}

Cases dynamic_cases() {
  const auto cut = [](Shape sizes) -> Builder {
    return [=](const Build& b) -> Values {
      return {dynamic_slice(b[0], {b.operands.begin() + 1, b.operands.end()}, sizes)};
    };
  };
  const Builder update = [](const Build& b) -> Values {
    return {dynamic_update_slice(b[0], b[1], {b.operands.begin() + 2, b.operands.end()})};
  };
  const Operand start = {"i64[]", integers(-2, 8)};
  Cases cases = {
      {"dynamic_slice", "matrix", {{"f32[6,5]"}, start, start}, cut({2, 3}), {"f32[2,3]"}},
      {"dynamic_slice",
       "batch",
       {{"f32[6,b]"}, start, start},
       [](const Build& b) -> Values {
         return {dynamic_slice(b[0], {b[1], b[2]}, {2, b.dim(0, 1)})};
       },
       {"f32[2,b]"}},
      {"dynamic_slice", "whole", {{"f32[4]"}, start}, cut({4}), {"f32[4]"}},
      {"dynamic_slice", "scalar", {{"f32[]"}}, cut({}), {"f32[]"}},
      {"dynamic_slice", "nothing", {{"f32[4,2]"}, start, start}, cut({0, 2}), {"f32[0,2]"}},
      exact_case("dynamic_slice", "u8", {{"u8[6,5]", integers(0, 255)}, start, start}, cut({2, 3}),
                 {"u8[2,3]"}),
      {"dynamic_update_slice",
       "matrix",
       {{"f32[6,5]"}, {"f32[2,3]"}, start, start},
       update,
       {"f32[6,5]"}},
      {"dynamic_update_slice",
       "batch",
       {{"f32[b,5]"}, {"f32[b,2]"}, start, start},
       update,
       {"f32[b,5]"}},
      {"dynamic_update_slice", "whole", {{"f32[4]"}, {"f32[4]"}, start}, update, {"f32[4]"}},
      {"dynamic_update_slice", "nothing", {{"f32[4]"}, {"f32[0]"}, start}, update, {"f32[4]"}},
      {"dynamic_update_slice", "scalar", {{"f32[]"}, {"f32[]"}}, update, {"f32[]"}},
      exact_case("dynamic_update_slice", "i32",
                 {{"i32[6,5]", integers(0, 99)}, {"i32[2,3]", integers(0, 99)}, start, start},
                 update, {"i32[6,5]"}),
  };
  return cases;
}

}  // namespace

Cases indexing_cases() {
  Cases cases;
  for (Cases (*part)() : {gather_cases, scatter_cases, one_hot_cases, iota_cases, dynamic_cases}) {
    for (OpCase& op_case : part()) cases.push_back(std::move(op_case));
  }
  return cases;
}

}  // namespace adjoint::testing
