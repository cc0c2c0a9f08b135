#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/region.h"
#include "ops/shape.h"
#include "tests/op_cases/op_case.h"

namespace adjoint::testing {
namespace {

// A region around what `body` builds from arguments of the operands' types.
std::function<Values(const Build&)> around(std::function<Values(const Build&)> body) {
  return [=](const Build& b) -> Values {
    auto block = std::make_shared<Block>("region");
    Values arguments;
    for (size_t i = 0; i < b.operands.size(); ++i) {
      arguments.push_back(block->argument("a" + std::to_string(i), b[i].type()));
    }
    const Values results = body({*block, arguments, b.dtype});
    for (size_t i = 0; i < results.size(); ++i) {
      block->result("r" + std::to_string(i), results[i]);
    }
    const Value first = region(b.block, b.operands, block);
    Values outputs;
    for (size_t i = 0; i < results.size(); ++i) outputs.push_back(first.output(i));
    return outputs;
  };
}

OpCase region_case(const char* name, std::vector<Operand> operands,
                   std::function<Values(const Build&)> body, std::vector<std::string> results) {
  return {.op = "region",
          .name = name,
          .operands = std::move(operands),
          .build = around(std::move(body)),
          .results = std::move(results),
          .gradient = false};
}

}  // namespace

Cases region_cases() {
  return {
      region_case("chain", {{"f32[b,5]"}},
                  [](const Build& b) -> Values { return {tanh(exp(b[0] * 0.5) - 1.0)}; },
                  {"f32[b,5]"}),
      region_case("bias_relu", {{"f32[b,37]"}, {"f32[37]"}},
                  [](const Build& b) -> Values { return {relu(b[0] + b[1])}; }, {"f32[b,37]"}),
      region_case("diamond", {{"f32[b,5]"}, {"f32[b,5]"}},
                  [](const Build& b) -> Values {
                    const Value s = sigmoid(b[0]);
                    return {s * b[1] + s, s - b[1]};
                  },
                  {"f32[b,5]", "f32[b,5]"}),
      region_case("column_sums", {{"f32[b,7]"}, {"f32[b,7]"}},
                  [](const Build& b) -> Values { return {sum(b[0] * b[1], {0})}; }, {"f32[7]"}),
      region_case("even_column_sums", {{"f32[b,24]"}, {"f32[b,24]"}},
                  [](const Build& b) -> Values {
                    return {sum(b[0] * b[1], {0}), sum(b[0], {0})};
                  },
                  {"f32[24]", "f32[24]"}),
      region_case("mean_of_all", {{"f32[b,2,7]"}},
                  [](const Build& b) -> Values { return {mean(square(b[0]))}; }, {"f32[]"}),
      region_case("condition", {{"bool[b,5]", booleans()}, {"f32[b,5]"}, {"f32[5]"}},
                  [](const Build& b) -> Values {
                    return {select(b[0], b[1], b[2]), greater(b[1], b[2])};
                  },
                  {"f32[b,5]", "bool[b,5]"}),
      region_case("cast_u8", {{"u8[b,13]", integers(0, 255)}},
                  [](const Build& b) -> Values { return {cast(b[0], b.dtype) / 255.0}; },
                  {"f32[b,13]"}),
      region_case("scalar", {{"f32[]"}, {"f32[]"}},
                  [](const Build& b) -> Values { return {b[0] * b[1] + 1.0}; }, {"f32[]"}),
      region_case("empty", {{"f32[0,5]"}}, [](const Build& b) -> Values { return {exp(b[0])}; },
                  {"f32[0,5]"}),
  };
}

}  // namespace adjoint::testing
