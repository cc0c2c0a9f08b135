// Every family that takes any rank, at the highest one.
#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/linalg.h"
#include "ops/norm.h"
#include "ops/reduce.h"
#include "ops/shape.h"
#include "tests/op_cases/op_case.h"

namespace adjoint::testing {
namespace {

using Builder = std::function<Values(const Build&)>;

const Operand kX = {"f32[2,1,b,2,1,3,1,2]"};

OpCase rank8(std::string op, std::vector<Operand> operands, Builder build, std::string result) {
  return {std::move(op), "rank8", std::move(operands), std::move(build), {"f32" + result}};
}

Cases elementwise_of_rank8() {
  const Operand other = {"f32[1,3,1,2,2,1,2,2]"};
  const std::string both = "[2,3,b,2,2,3,2,2]";
  return {
      rank8(
          "tanh", {kX}, [](const Build& b) -> Values { return {adjoint::tanh(b[0])}; },
          "[2,1,b,2,1,3,1,2]"),
      rank8(
          "mul", {kX, other}, [](const Build& b) -> Values { return {b[0] * b[1]}; }, both),
      rank8(
          "select", {{"bool[2,1,1,1,2,1,1,2]", booleans()}, kX, other},
          [](const Build& b) -> Values { return {select(b[0], b[1], b[2])}; }, both),
  };
}

Cases shape_of_rank8() {
  return {
      rank8(
          "reshape", {kX},
          [](const Build& b) -> Values {
            return {reshape(b[0], {1, 2, b.dim(0, 2), 1, 2, 1, 6, 1})};
          },
          "[1,2,b,1,2,1,6,1]"),
      rank8(
          "transpose", {kX},
          [](const Build& b) -> Values {
            return {transpose(b[0], {7, 2, 5, 0, 3, 1, 6, 4})};
          },
          "[2,b,3,2,2,1,1,1]"),
      rank8(
          "broadcast_to", {kX},
          [](const Build& b) -> Values {
            return {broadcast_to(b[0], {2, 3, b.dim(0, 2), 2, 2, 3, 2, 2})};
          },
          "[2,3,b,2,2,3,2,2]"),
      rank8(
          "sum_to", {kX},
          [](const Build& b) -> Values {
            return {sum_to(b[0], {b.dim(0, 2), 1, 1, 3, 1, 1})};
          },
          "[b,1,1,3,1,1]"),
      rank8(
          "concat", {kX, {"f32[2,1,b,2,1,2,1,2]"}},
          [](const Build& b) -> Values {
            return {concat({b[0], b[1]}, 5)};
          },
          "[2,1,b,2,1,5,1,2]"),
      rank8(
          "slice", {kX},
          [](const Build& b) -> Values {
            const Dim& n = b.dim(0, 2);
            return {slice(b[0], {1, 0, 0, 0, 0, 0, 0, 1}, {2, 1, n, 2, 1, 3, 1, 2},
                          {1, 1, 2, 1, 1, 2, 1, 1})};
          },
          "[1,1,((b+1)//2),2,1,2,1,1]"),
      rank8(
          "pad", {kX},
          [](const Build& b) -> Values {
            return {pad(b[0], {0, 1, 0, 0, 0, 1, 0, 0}, {0, 0, 0, 2, 0, 0, 0, 1},
                        {0, 0, 0, 0, 0, 1, 0, 0}, 0.5)};
          },
          "[2,2,b,4,1,6,1,3]"),
      rank8(
          "squeeze", {kX},
          [](const Build& b) -> Values {
            return {squeeze(b[0], {1, 4})};
          },
          "[2,b,2,3,1,2]"),
      rank8(
          "expand_dims", {{"f32[2,b,3]"}},
          [](const Build& b) -> Values {
            return {expand_dims(b[0], {0, 2, 4, 5, 7})};
          },
          "[1,2,1,b,1,1,3,1]"),
      {"split",
       "rank8",
       {kX},
       [](const Build& b) -> Values {
         return split(b[0], 5, {1, 2});
       },
       {"f32[2,1,b,2,1,1,1,2]", "f32[2,1,b,2,1,2,1,2]"}},
  };
}

Cases indexing_of_rank8() {
  const Operand rows = {"f32[2,1,4,1,2,b]"}, at = {"i64[3,1,2]", integers(0, 3)};
  const Operand start = {"i64[]", integers(0, 1)};
  return {
      rank8(
          "gather", {rows, at}, [](const Build& b) -> Values { return {gather(b[0], b[1], 2)}; },
          "[2,1,3,1,2,1,2,b]"),
      rank8(
          "scatter_add", {rows, at, {"f32[2,1,3,1,2,1,2,b]"}},
          [](const Build& b) -> Values { return {scatter_add(b[0], b[1], b[2], 2)}; },
          "[2,1,4,1,2,b]"),
      rank8(
          "dynamic_slice", {kX, start, start, start, start, start, start, start, start},
          [](const Build& b) -> Values {
            return {dynamic_slice(b[0], {b.operands.begin() + 1, b.operands.end()},
                                  {1, 1, b.dim(0, 2), 2, 1, 2, 1, 1})};
          },
          "[1,1,b,2,1,2,1,1]"),
      exact_case("one_hot", "rank8", {{"i64[2,1,b,2,1,3,1]", integers(-1, 3)}},
                 [](const Build& b) -> Values { return {one_hot(b[0], 3)}; },
                 {"f32[2,1,b,2,1,3,1,3]"}),
  };
}

Cases reductions_of_rank8() {
  using Reduction = Value (*)(Located, std::vector<int64_t>, bool);
  const std::pair<const char*, Reduction> reductions[] = {
      {"sum", sum},           {"mean", mean}, {"max", adjoint::max},
      {"variance", variance}, {"prod", prod}, {"logsumexp", logsumexp}};
  Cases cases;
  for (const auto& [op, f] : reductions) {
    const Operand x = {kX.type, op == std::string("max") ? distinct() : uniform(0.5, 1.5)};
    cases.push_back(rank8(
        op, {x},
        [f = f](const Build& b) -> Values {
          return {f(b[0], {0, 3, 5, 7}, true)};
        },
        "[1,1,b,1,1,1,1,1]"));
    cases.back().name = "rank8_keep";
    cases.push_back(rank8(
        op, {x},
        [f = f](const Build& b) -> Values {
          return {f(b[0], {1, 2, 5}, false)};
        },
        "[2,2,1,1,2]"));
  }
  cases.push_back({"argmax",
                   "rank8",
                   {{kX.type, distinct()}},
                   [](const Build& b) -> Values { return {argmax(b[0], 5)}; },
                   {"i64[2,1,b,2,1,1,2]"},
                   false});
  return cases;
}

Cases others_of_rank8() {
  const Operand channels = {"f32[2]"};
  return {
      rank8(
          "matmul", {{"f32[2,1,b,1,1,2,2,3]"}, {"f32[1,2,1,2,1,1,3,2]"}},
          [](const Build& b) -> Values { return {matmul(b[0], b[1])}; }, "[2,2,b,2,1,2,2,2]"),
      rank8(
          "softmax", {kX}, [](const Build& b) -> Values { return {softmax(b[0], 5)}; },
          "[2,1,b,2,1,3,1,2]"),
      rank8(
          "log_softmax", {kX}, [](const Build& b) -> Values { return {log_softmax(b[0], 3)}; },
          "[2,1,b,2,1,3,1,2]"),
      {"batch_norm",
       "rank8",
       {kX, channels, channels},
       [](const Build& b) -> Values { return {batch_norm(b[0], b[1], b[2]).y}; },
       {"f32[2,1,b,2,1,3,1,2]"}},
      {"layer_norm",
       "rank8",
       {{"f32[2,1,b,2,1,1,1,3]"}, {"f32[3]"}, {"f32[3]"}},
       [](const Build& b) -> Values { return {layer_norm(b[0], b[1], b[2]).y}; },
       {"f32[2,1,b,2,1,1,1,3]"}},
  };
}

}  // namespace

Cases rank_cases() {
  Cases cases;
  for (Cases (*part)() : {elementwise_of_rank8, shape_of_rank8, indexing_of_rank8,
                          reductions_of_rank8, others_of_rank8}) {
    for (OpCase& op_case : part()) cases.push_back(std::move(op_case));
  }
  return cases;
}

}  // namespace adjoint::testing
