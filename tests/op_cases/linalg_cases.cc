#include "ops/linalg.h"
#include "tests/op_cases/op_case.h"

namespace adjoint::testing {
namespace {

std::function<Values(const Build&)> product(MatmulAttributes attributes = {}) {
  return [=](const Build& b) -> Values { return {matmul(b[0], b[1], attributes)}; };
}

}  // namespace

Cases linalg_cases() {
  const MatmulAttributes ta = {.transpose_a = true}, tb = {.transpose_b = true};
  const MatmulAttributes both = {.transpose_a = true, .transpose_b = true};
  const MatmulAttributes in_f64 = {.accumulate = DType::f64};
  const auto square = [](const Build& b) -> Values { return {matmul(b[0], b[0])}; };
  return {
      {"matmul", "odd", {{"f32[b,5]"}, {"f32[5,7]"}}, product(), {"f32[b,7]"}},
      {"matmul", "ta", {{"f32[5,b]"}, {"f32[5,7]"}}, product(ta), {"f32[b,7]"}},
      {"matmul", "tb", {{"f32[b,5]"}, {"f32[7,5]"}}, product(tb), {"f32[b,7]"}},
      {"matmul", "both", {{"f32[5,b]"}, {"f32[7,5]"}}, product(both), {"f32[b,7]"}},
      {"matmul", "row", {{"f32[1,5]"}, {"f32[5,b]"}}, product(), {"f32[1,b]"}},
      {"matmul", "column", {{"f32[b,5]"}, {"f32[5,1]"}}, product(), {"f32[b,1]"}},
      {"matmul", "outer", {{"f32[b,1]"}, {"f32[1,7]"}}, product(), {"f32[b,7]"}},
      {"matmul", "ones", {{"f32[1,1]"}, {"f32[1,1]"}}, product(), {"f32[1,1]"}},
      {"matmul", "itself", {{"f32[4,4]"}}, square, {"f32[4,4]"}},
      {"matmul", "batched", {{"f32[b,2,5]"}, {"f32[b,5,3]"}}, product(), {"f32[b,2,3]"}},
      {"matmul", "batched_ta", {{"f32[b,5,2]"}, {"f32[b,5,3]"}}, product(ta), {"f32[b,2,3]"}},
      {"matmul", "batched_tb", {{"f32[b,2,5]"}, {"f32[b,3,5]"}}, product(tb), {"f32[b,2,3]"}},
      {"matmul", "batched_both", {{"f32[b,5,2]"}, {"f32[b,3,5]"}}, product(both), {"f32[b,2,3]"}},
      {"matmul", "broadcast", {{"f32[2,1,3,4]"}, {"f32[b,4,2]"}}, product(), {"f32[2,b,3,2]"}},
      {"matmul", "one_matrix", {{"f32[b,2,5]"}, {"f32[5,3]"}}, product(), {"f32[b,2,3]"}},
      {"matmul", "rank5", {{"f32[2,1,2,3,4]"}, {"f32[1,b,1,4,2]"}}, product(), {"f32[2,b,2,3,2]"}},
      {"matmul", "no_rows", {{"f32[0,5]"}, {"f32[5,7]"}}, product(), {"f32[0,7]"}},
      {"matmul", "no_inner", {{"f32[b,0]"}, {"f32[0,7]"}}, product(), {"f32[b,7]"}},
      {"matmul", "no_batch", {{"f32[0,2,5]"}, {"f32[5,3]"}}, product(), {"f32[0,2,3]"}},
      // Beyond a cache block, not a multiple of any tile.
      {"matmul",
       "large",
       {{"f32[b,131]"}, {"f32[131,67]"}},
       product(),
       {"f32[b,67]"},
       true,
       true,
       false,
       33},
      {"matmul", "deep", {{"f32[b,1031]"}, {"f32[3,1031]"}}, product(tb), {"f32[b,3]"}},
      {"matmul", "in_f64", {{"f32[b,70]"}, {"f32[70,5]"}}, product(in_f64), {"f32[b,5]"}},
      {.op = "matmul",
       .name = "specials",
       .operands = {{"f32[13,1]", specials()}, {"f32[1,13]", specials()}},
       .build = product(),
       .results = {"f32[13,13]"},
       .gradient = false},
  };
}

}  // namespace adjoint::testing
