#include "ops/random.h"
#include "tests/op_cases/op_case.h"

namespace adjoint::testing {
namespace {

using Builder = std::function<Values(const Build&)>;

const Operand kKey = {"i64[]", keys()};

// All of a key's 64 bits, and of a stream's 63, count.
const Operand kExtremeKey = {"i64[]", listed({0, -1, -9223372036854775808.0, 4294967296.0, 1})};
constexpr int64_t kStream = (int64_t{1} << 62) + 12345;

Cases sampled_cases() {
  Cases cases;
  const auto drawn = [](Shape shape, double low, double high, int64_t stream = 0) -> Builder {
    return [=](const Build& b) -> Values {
      return {uniform(b[0], {b.dtype, shape}, low, high, stream)};
    };
  };
  const auto gaussian = [](Shape shape, double mean, double stddev, int64_t stream = 0) -> Builder {
    return [=](const Build& b) -> Values {
      return {normal(b[0], {b.dtype, shape}, mean, stddev, stream)};
    };
  };
  const auto add = [&](const char* op, const char* name, Operand key, Builder build,
                       const char* result) {
    cases.push_back({.op = op,
                     .name = name,
                     .operands = {key},
                     .build = build,
                     .results = {result},
                     .gradient = false});
  };
  add("uniform", "unit", kKey, drawn({5, 7}, 0, 1), "f32[5,7]");
  add("uniform", "range", kKey, drawn({2, 3, 5}, -3, 0.5, 4), "f32[2,3,5]");
  add("uniform", "scalar", kKey, drawn({}, 0, 1), "f32[]");
  add("uniform", "empty", kKey, drawn({0, 3}, 0, 1), "f32[0,3]");
  add("uniform", "one_value", kKey, drawn({3}, 2, 2), "f32[3]");
  add("uniform", "extreme_key", kExtremeKey, drawn({9}, -1, 1, kStream), "f32[9]");
  add("uniform", "long", kKey, drawn({70001}, 0, 1, 1), "f32[70001]");
  add("normal", "unit", kKey, gaussian({5, 7}, 0, 1), "f32[5,7]");
  add("normal", "moved", kKey, gaussian({2, 3, 5}, 10, 0.25, 4), "f32[2,3,5]");
  add("normal", "scalar", kKey, gaussian({}, 0, 1), "f32[]");
  add("normal", "empty", kKey, gaussian({0}, 0, 1), "f32[0]");
  add("normal", "no_deviation", kKey, gaussian({3}, 1.5, 0), "f32[3]");
  add("normal", "extreme_key", kExtremeKey, gaussian({9}, 0, 1, kStream), "f32[9]");
  add("normal", "long", kKey, gaussian({70001}, 0, 1, 1), "f32[70001]");
  // The batch as an attribute's dimension.
  cases.push_back({.op = "uniform",
                   .name = "batch",
                   .operands = {kKey, {"i64[b]"}},
                   .build = [](const Build& b) -> Values {
                     return {uniform(b[0], {b.dtype, {b.dim(1, 0), 3}})};
                   },
                   .results = {"f32[b,3]"},
                   .gradient = false});
  return cases;
}

Cases choice_cases() {
  const auto chosen = [](Shape shape, double p, int64_t stream = 0) -> Builder {
    return [=](const Build& b) -> Values { return {bernoulli(b[0], shape, p, stream)}; };
  };
  const auto dropped = [](double rate, int64_t stream) -> Builder {
    return [=](const Build& b) -> Values { return {dropout(b[0], b[1], rate, stream)}; };
  };
  return {
      exact_case("bernoulli", "half", {kKey}, chosen({5, 7}, 0.5), {"bool[5,7]"}),
      exact_case("bernoulli", "rare", {kKey}, chosen({301}, 0.0625, 7), {"bool[301]"}),
      exact_case("bernoulli", "never", {kKey}, chosen({33}, 0), {"bool[33]"}),
      exact_case("bernoulli", "always", {kKey}, chosen({33}, 1), {"bool[33]"}),
      exact_case("bernoulli", "scalar", {kExtremeKey}, chosen({}, 0.5, kStream), {"bool[]"}),
      {"dropout", "half", {{"f32[b,7]"}, kKey}, dropped(0.5, 0), {"f32[b,7]"}},
      {"dropout", "quarter", {{"f32[b,2,9]"}, kKey}, dropped(0.25, 3), {"f32[b,2,9]"}},
      {"dropout", "nothing", {{"f32[b,7]"}, kKey}, dropped(0, 0), {"f32[b,7]"}},
      {"dropout", "scalar", {{"f32[]"}, kKey}, dropped(0.5, 0), {"f32[]"}},
      {"dropout", "empty", {{"f32[0]"}, kKey}, dropped(0.5, 0), {"f32[0]"}},
  };
}

Cases key_cases() {
  const Builder folded = [](const Build& b) -> Values { return {fold_in(b[0], b[1])}; };
  const auto permuted = [](int64_t n) -> Builder {
    return [=](const Build& b) -> Values { return {permute_index(b[0], b[1], n)}; };
  };
  return {
      exact_case("fold_in", "step", {kKey, {"i64[]", integers(0, 100000)}}, folded, {"i64[]"}),
      exact_case("fold_in", "extreme", {kExtremeKey, kExtremeKey}, folded, {"i64[]"}),
      exact_case("permute_index", "sixty_thousand", {kKey, {"i64[b,7]", integers(0, 59999)}},
                 permuted(60000), {"i64[b,7]"}),
      exact_case("permute_index", "power_of_two", {kKey, {"i64[b,7]", integers(0, 63)}},
                 permuted(64), {"i64[b,7]"}),
      exact_case("permute_index", "just_above", {kKey, {"i64[b,7]", integers(0, 64)}}, permuted(65),
                 {"i64[b,7]"}),
      exact_case("permute_index", "one", {kKey, {"i64[b]", integers(0, 0)}}, permuted(1),
                 {"i64[b]"}),
      exact_case("permute_index", "huge", {kKey, {"i64[]", integers(0, 1000000)}},
                 permuted(int64_t{1} << 40), {"i64[]"}),
      exact_case("permute_index", "empty", {kKey, {"i64[0]"}}, permuted(5), {"i64[0]"}),
      exact_case("permute_index", "of_batch", {kKey, {"i64[b]", integers(0, 2)}},
                 [](const Build& b) -> Values { return {permute_index(b[0], b[1], b.dim(1, 0))}; },
                 {"i64[b]"}),
  };
}

}  // namespace

Cases random_cases() {
  Cases cases = sampled_cases();
  for (Cases (*part)() : {choice_cases, key_cases}) {
    for (OpCase& op_case : part()) cases.push_back(std::move(op_case));
  }
  return cases;
}

}  // namespace adjoint::testing
