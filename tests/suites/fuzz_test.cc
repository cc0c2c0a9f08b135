// Random graphs and their gradients: the interpreter, the planned function, the lowered (fused) and
// the optimised one give what the oracle gives, and the gradient is that of differences. A failure
// prints the seed and the smallest recipe that still fails, as a dump.
//
//   ADJOINT_FUZZ_SEEDS=5000,20000 bazel-bin/tests/fuzz_test    # seeds 5000 to 19999
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "graph/printer.h"
#include "graph/verifier.h"
#include "runtime/cpu/device.h"
#include "runtime/executable.h"
#include "runtime/optimize.h"
#include "tests/harness/interpreter.h"
#include "tests/harness/random_graph.h"

namespace adjoint::testing {
namespace {

// Results by name.
using Results = std::map<std::string, oracle::Tensor>;

Results named(const Function& function, const oracle::Outputs& outputs) {
  Results results;
  for (size_t i = 0; i < outputs.size(); ++i) {
    results.emplace(function.results()[i].name, outputs[i]);
  }
  return results;
}

Results executed(const RandomGraph& graph, const Function& function, const oracle::Feeds& feeds,
                 const std::shared_ptr<Device>& device) {
  State state(*graph.module, device);
  Tensors tensors;
  for (const auto& [name, tensor] : feeds) tensors.emplace(name, to_runtime(tensor));
  Results results;
  for (const auto& [name, tensor] : Executable(function, device).run(state, tensors)) {
    results.emplace(name, from_runtime(tensor));
  }
  return results;
}

// The ways to run a function, each compared with the first.
std::vector<std::pair<std::string, Results>> all_ways(const RandomGraph& graph,
                                                      const oracle::Feeds& feeds) {
  static const auto kPlain = cpu::device(2, cpu::standard_kernels());
  static const auto kLowering = cpu::device(2);
  const Function& f = *graph.function;
  std::vector<std::pair<std::string, Results>> ways;
  ways.emplace_back("interpreter", named(f, interpret(f, feeds)));
  ways.emplace_back("planned", executed(graph, f, feeds, kPlain));
  ways.emplace_back("lowered", executed(graph, f, feeds, kLowering));
  const auto optimised = optimize(f).function;
  verify(*optimised);
  ways.emplace_back("optimised", executed(graph, *optimised, feeds, kPlain));
  ways.emplace_back("optimised and lowered", executed(graph, *optimised, feeds, kLowering));
  return ways;
}

// How two runs differ, or nothing. All elements of a result count in units of its largest one.
std::string difference(const Results& got, const Results& want, double tolerance) {
  for (const auto& [name, tensor] : want) {
    auto found = got.find(name);
    if (found == got.end()) return "no result " + name;
    if (auto same = close(found->second, tensor, tolerance, 1); !same) {
      return name + ": " + same.message();
    }
  }
  return "";
}

// The gradients against a difference of the oracle's loss along a random direction.
std::string gradient_error(const Recipe& recipe, const RandomGraph& graph,
                           const oracle::Feeds& feeds, const Results& results) {
  TensorList at, direction, gradients;
  for (size_t i = 0; i < graph.arguments.size(); ++i) {
    at.push_back(feeds.at(leaf_name(graph.arguments[i].node())));
    direction.push_back(random_like(graph.arguments[i].type(), recipe.seed + i));
    gradients.push_back(results.at("g" + std::to_string(i)));
  }
  const oracle::Real change = central_difference(at, direction, [&](const TensorList& moved) {
    oracle::Feeds x;
    for (size_t i = 0; i < moved.size(); ++i) {
      x.emplace(leaf_name(graph.arguments[i].node()), moved[i]);
    }
    return oracle::evaluate_all(*graph.function, x)[graph.loss.id().node][0].values[0];
  });
  const auto right = is_derivative(gradients, direction, change);
  return right ? "" : right.message();
}

bool differentiable_everywhere(const Function& function) {
  for (size_t i = 0; i < function.size(); ++i) {
    if (function.node(static_cast<int32_t>(i)).op->name == "stop_gradient") return false;
  }
  return true;
}

// What is wrong with a recipe's graph, or nothing.
std::string disagreement(const Recipe& recipe, DType dtype) {
  const RandomGraph graph = build(recipe, dtype);
  const oracle::Feeds feeds = random_feeds(recipe, graph);
  const auto ways = all_ways(graph, feeds);
  // In f32 the interpreter is the measure: fusion and folding may only round otherwise.
  const bool in_f64 = dtype == DType::f64;
  const Results want = in_f64 ? named(*graph.function, oracle::evaluate(*graph.function, feeds))
                              : ways.front().second;
  for (const auto& [way, results] : ways) {
    const std::string wrong = difference(results, want, in_f64 ? 1e-10 : 1e-5);
    if (!wrong.empty()) return way + ": " + wrong;
  }
  if (!in_f64 || !differentiable_everywhere(*graph.function)) return "";
  return gradient_error(recipe, graph, feeds, want);
}

std::string failure(const Recipe& recipe, DType dtype) {
  try {
    return disagreement(recipe, dtype);
  } catch (const std::exception& error) {
    return std::string("exception: ") + error.what();
  }
}

// The smallest recipe found that still fails, as a dump with what is wrong.
std::string report(const Recipe& recipe, DType dtype) {
  const Recipe small = shrunk(recipe, [&](const Recipe& r) { return !failure(r, dtype).empty(); });
  std::string text = failure(small, dtype) + "\n";
  try {
    text += to_text(*build(small, dtype).module);
  } catch (const std::exception&) {  // the failure itself
    text += "(a graph of " + std::to_string(small.steps.size()) + " steps that does not build)";
  }
  return text;
}

class Fuzz : public ::testing::TestWithParam<uint64_t> {};

TEST_P(Fuzz, AllWaysAgree) {
  const Recipe recipe = random_recipe(GetParam());
  for (DType dtype : {DType::f64, DType::f32}) {
    EXPECT_EQ(failure(recipe, dtype), "")
        << "seed " << recipe.seed << " in " << name(dtype) << ": " << report(recipe, dtype);
  }
}

// The first seed and the one after the last.
std::pair<uint64_t, uint64_t> seeds() {
  unsigned long long first = 0, end = 2000;
  const char* range = std::getenv("ADJOINT_FUZZ_SEEDS");
  if (range && (std::sscanf(range, "%llu,%llu", &first, &end) != 2 || first >= end)) {
    throw std::invalid_argument("ADJOINT_FUZZ_SEEDS is not FIRST,END: " + std::string(range));
  }
  return {first, end};
}

INSTANTIATE_TEST_SUITE_P(Seeds, Fuzz, ::testing::Range(seeds().first, seeds().second));

}  // namespace
}  // namespace adjoint::testing
