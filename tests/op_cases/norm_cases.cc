#include "ops/norm.h"
#include "tests/op_cases/op_case.h"

namespace adjoint::testing {
namespace {

using Builder = std::function<Values(const Build&)>;

Values all(const Normalized& n) { return {n.y, n.mean, n.variance}; }
Values all(const NormGradients& g) { return {g.x, g.scale, g.offset}; }

Cases batch_norm_cases() {
  const Builder training = [](const Build& b) { return all(batch_norm(b[0], b[1], b[2])); };
  const Builder exact = [](const Build& b) { return all(batch_norm(b[0], b[1], b[2], 1e-8)); };
  const Builder inference = [](const Build& b) -> Values {
    return {batch_norm_inference(b[0], b[1], b[2], b[3], b[4])};
  };
  const Builder grad = [](const Build& b) {
    return all(batch_norm_grad(b[0], b[1], b[2], b[3], b[4], 0.01));
  };
  const Operand c5 = {"f32[5]"}, c3 = {"f32[3]"}, variance5 = {"f32[5]", positive()};
  const Operand far = {"f32[b,4,3]", uniform(99, 101)};
  return {
      {"batch_norm",
       "images",
       {{"f32[b,3,4,5]"}, c5, c5},
       training,
       {"f32[b,3,4,5]", "f32[5]", "f32[5]"}},
      {"batch_norm", "rows", {{"f32[b,5]"}, c5, c5}, training, {"f32[b,5]", "f32[5]", "f32[5]"}},
      {"batch_norm",
       "epsilon",
       {{"f32[b,4,3]"}, c3, c3},
       exact,
       {"f32[b,4,3]", "f32[3]", "f32[3]"}},
      {"batch_norm", "one_row", {{"f32[1,5]"}, c5, c5}, training, {"f32[1,5]", "f32[5]", "f32[5]"}},
      {"batch_norm",
       "many_channels",
       {{"f32[b,2,3,41]"}, {"f32[41]"}, {"f32[41]"}},
       training,
       {"f32[b,2,3,41]", "f32[41]", "f32[41]"}},
      {.op = "batch_norm",
       .name = "far_from_zero",
       .operands = {far, c3, c3},
       .build = training,
       .gradient = false},
      {.op = "batch_norm",
       .name = "no_rows",
       .operands = {{"f32[0,5]"}, c5, c5},
       .build = training,
       .results = {"f32[0,5]", "f32[5]", "f32[5]"},
       .gradient = false},
      {"batch_norm_inference",
       "images",
       {{"f32[b,3,4,5]"}, c5, c5, c5, variance5},
       inference,
       {"f32[b,3,4,5]"}},
      {"batch_norm_inference",
       "rows",
       {{"f32[b,5]"}, c5, c5, c5, variance5},
       inference,
       {"f32[b,5]"}},
      {"batch_norm_inference",
       "no_rows",
       {{"f32[0,5]"}, c5, c5, c5, variance5},
       inference,
       {"f32[0,5]"}},
      {"batch_norm_grad",
       "images",
       {{"f32[b,3,2,5]"}, {"f32[b,3,2,5]"}, c5, c5, variance5},
       grad,
       {"f32[b,3,2,5]", "f32[5]", "f32[5]"}},
      {"batch_norm_grad",
       "rows",
       {{"f32[b,5]"}, {"f32[b,5]"}, c5, c5, variance5},
       grad,
       {"f32[b,5]", "f32[5]", "f32[5]"}},
      {"batch_norm_grad",
       "many_channels",
       {{"f32[b,2,41]"}, {"f32[b,2,41]"}, {"f32[41]"}, {"f32[41]"}, {"f32[41]", positive()}},
       grad,
       {"f32[b,2,41]", "f32[41]", "f32[41]"}},
  };
}

Cases layer_norm_cases() {
  const Builder forward = [](const Build& b) { return all(layer_norm(b[0], b[1], b[2])); };
  const Builder grad = [](const Build& b) {
    return all(layer_norm_grad(b[0], b[1], b[2], b[3], b[4], 0.01));
  };
  const Operand c5 = {"f32[5]"}, rows = {"f32[b]", positive()};
  return {
      {"layer_norm", "rows", {{"f32[b,5]"}, c5, c5}, forward, {"f32[b,5]", "f32[b]", "f32[b]"}},
      {"layer_norm",
       "rank4",
       {{"f32[b,2,3,7]"}, {"f32[7]"}, {"f32[7]"}},
       forward,
       {"f32[b,2,3,7]", "f32[b,2,3]", "f32[b,2,3]"}},
      {"layer_norm", "vector", {{"f32[5]"}, c5, c5}, forward, {"f32[5]", "f32[]", "f32[]"}},
      {"layer_norm",
       "long",
       {{"f32[b,131]"}, {"f32[131]"}, {"f32[131]"}},
       forward,
       {"f32[b,131]", "f32[b]", "f32[b]"}},
      {"layer_norm", "no_rows", {{"f32[0,5]"}, c5, c5}, forward, {"f32[0,5]", "f32[0]", "f32[0]"}},
      {"layer_norm_grad",
       "rows",
       {{"f32[b,5]"}, {"f32[b,5]"}, c5, {"f32[b]"}, rows},
       grad,
       {"f32[b,5]", "f32[5]", "f32[5]"}},
      {"layer_norm_grad",
       "rank3",
       {{"f32[b,2,7]"}, {"f32[b,2,7]"}, {"f32[7]"}, {"f32[b,2]"}, {"f32[b,2]", positive()}},
       grad,
       {"f32[b,2,7]", "f32[7]", "f32[7]"}},
      {"layer_norm_grad",
       "vector",
       {{"f32[5]"}, {"f32[5]"}, c5, {"f32[]"}, {"f32[]", positive()}},
       grad,
       {"f32[5]", "f32[5]", "f32[5]"}},
  };
}

Cases softmax_cases() {
  Cases cases;
  for (const char* op : {"softmax", "log_softmax"}) {
    const bool logarithm = std::string(op) == "log_softmax";
    const auto along = [=](int64_t axis) -> Builder {
      return [=](const Build& b) -> Values {
        return {logarithm ? log_softmax(b[0], axis) : softmax(b[0], axis)};
      };
    };
    const Operand large = {"f32[b,6]", uniform(-300, 300)};
    cases.push_back({op, "rows", {{"f32[b,10]"}}, along(-1), {"f32[b,10]"}});
    cases.push_back({op, "columns", {{"f32[b,7]"}}, along(0), {"f32[b,7]"}});
    cases.push_back({op, "middle", {{"f32[b,4,3]"}}, along(1), {"f32[b,4,3]"}});
    cases.push_back({op, "rank5", {{"f32[1,b,2,3,2]"}}, along(3), {"f32[1,b,2,3,2]"}});
    cases.push_back({op, "one", {{"f32[b,1]"}}, along(1), {"f32[b,1]"}});
    cases.push_back({op, "long", {{"f32[b,517]"}}, along(1), {"f32[b,517]"}});
    cases.push_back({op, "empty", {{"f32[b,0]"}}, along(1), {"f32[b,0]"}});
    cases.push_back(
        {.op = op, .name = "large", .operands = {large}, .build = along(1), .gradient = false});
  }
  return cases;
}

}  // namespace

Cases norm_cases() {
  Cases cases = batch_norm_cases();
  for (Cases (*part)() : {layer_norm_cases, softmax_cases}) {
    for (OpCase& op_case : part()) cases.push_back(std::move(op_case));
  }
  return cases;
}

}  // namespace adjoint::testing
