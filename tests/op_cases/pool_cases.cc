#include "ops/pool.h"
#include "tests/op_cases/op_case.h"

namespace adjoint::testing {
namespace {

struct Pooling {
  const char* name;
  const char* x;
  const char* y;
  PoolAttributes attributes;
};

std::vector<Pooling> poolings() {
  const auto same = Padding::same, by_numbers = Padding::explicit_;
  return {
      {"halves", "f32[b,4,6,3]", "f32[b,2,3,3]", {.window = {2, 2}, .stride = {}}},
      {"odd_rest", "f32[b,5,7,2]", "f32[b,2,3,2]", {.window = {2, 2}, .stride = {}}},
      {"overlapping", "f32[b,5,6,2]", "f32[b,3,4,2]", {.window = {3, 3}, .stride = {1, 1}}},
      {"gaps", "f32[b,7,8,1]", "f32[b,3,2,1]", {.window = {2, 1}, .stride = {2, 5}}},
      {"whole_image", "f32[b,3,4,5]", "f32[b,1,1,5]", {.window = {3, 4}, .stride = {}}},
      {"ones", "f32[b,3,2,2]", "f32[b,3,2,2]", {.window = {1, 1}, .stride = {}}},
      {"same",
       "f32[b,5,6,2]",
       "f32[b,3,3,2]",
       {.window = {3, 3}, .stride = {2, 2}, .padding = same}},
      {"same_overlapping",
       "f32[b,4,5,1]",
       "f32[b,4,5,1]",
       {.window = {2, 3}, .stride = {1, 1}, .padding = same}},
      {"pads",
       "f32[b,4,5,2]",
       "f32[b,3,3,2]",
       {.window = {3, 2}, .stride = {2, 2}, .padding = by_numbers, .pads = {1, 2, 0, 1}}},
      {"pads_all",
       "f32[b,3,3,2]",
       "f32[b,5,5,2]",
       {.window = {3, 3}, .stride = {1, 1}, .padding = by_numbers, .pads = {2, 2, 2, 2}}},
      {"no_batch", "f32[0,4,4,2]", "f32[0,2,2,2]", {.window = {2, 2}, .stride = {}}},
      {"many_channels", "f32[b,6,4,37]", "f32[b,3,2,37]", {.window = {2, 2}, .stride = {}}},
  };
}

void add_max_pooling(Cases& cases, const Pooling& p, const std::string& suffix,
                     const Domain& domain, bool gradient) {
  const PoolAttributes a = p.attributes;
  const std::string name = p.name + suffix;
  cases.push_back({.op = "max_pool",
                   .name = name,
                   .operands = {{p.x, domain}},
                   .build = [=](const Build& b) -> Values { return {max_pool(b[0], a)}; },
                   .results = {p.y},
                   .gradient = gradient});
  cases.push_back(
      {.op = "max_pool_grad",
       .name = name,
       .operands = {{p.y}, {p.x, domain}},
       .build = [=](const Build& b) -> Values { return {max_pool_grad(b[0], b[1], a)}; },
       .results = {p.x},
       .gradient = gradient});
  cases.push_back(
      {.op = "max_pool_pick",
       .name = name,
       .operands = {{p.x}, {p.x, domain}},
       .build = [=](const Build& b) -> Values { return {max_pool_pick(b[0], b[1], a)}; },
       .results = {p.y},
       .gradient = gradient});
}

void add_avg_pooling(Cases& cases, const Pooling& p, bool count_include_pad) {
  const PoolAttributes a = p.attributes;
  const std::string name = std::string(p.name) + (count_include_pad ? "_with_pad" : "");
  cases.push_back({"avg_pool",
                   name,
                   {{p.x}},
                   [=](const Build& b) -> Values { return {avg_pool(b[0], a, count_include_pad)}; },
                   {p.y}});
  // The second operand only gives the shape of the result, which may hold the batch.
  cases.push_back({"avg_pool_grad",
                   name,
                   {{p.y}, {p.x, {}, false}},
                   [=](const Build& b) -> Values {
                     return {avg_pool_grad(b[0], b[1].shape(), a, count_include_pad)};
                   },
                   {p.x}});
}

}  // namespace

Cases pool_cases() {
  Cases cases;
  for (const Pooling& pooling : poolings()) {
    add_max_pooling(cases, pooling, "", distinct(), true);
    add_max_pooling(cases, pooling, "_ties", integers(-1, 1), false);
    add_avg_pooling(cases, pooling, false);
    if (pooling.attributes.padding != Padding::valid) add_avg_pooling(cases, pooling, true);
  }
  // A window of which nothing but -inf is inside, and NaN, which wins.
  const Pooling pads = poolings()[8];
  add_max_pooling(cases, pads, "_specials", specials(), false);
  return cases;
}

}  // namespace adjoint::testing
