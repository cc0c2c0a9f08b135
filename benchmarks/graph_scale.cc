// How the time and memory of every step before the first run grow with the number of nodes.
//
//   bazel run //benchmarks:graph_scale            # 10^4, 10^5 and 10^6 nodes
//   graph_scale 5                                 # up to 10^5
//
// Three graphs (a chain, one wide fan, a lattice of diamonds) of about N nodes, gradients included;
// every case in its own process, so that peak memory is its own. CPU seconds per stage, all of them
// on one thread.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "autodiff/gradients.h"
#include "graph/parser.h"
#include "graph/printer.h"
#include "graph/verifier.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "ops/standard_ops.h"
#include "runtime/cpu/device.h"
#include "runtime/optimize.h"
#include "runtime/planner.h"

namespace adjoint {
namespace {

// Each makes about `nodes` nodes together with its gradient.
Value chain(Value x, int nodes) {
  for (int i = 0; i < nodes / 4; ++i) x = i % 2 ? sin(x) : tanh(x);
  return x;
}

Value wide(Value x, int nodes) {
  std::vector<Value> branches;
  for (int i = 0; i < nodes / 5; ++i) branches.push_back(x * (1.0 + i));
  Value sum = branches[0];
  for (size_t i = 1; i < branches.size(); ++i) sum = sum + branches[i];
  return sum;
}

Value diamond(Value x, int nodes) {
  Value left = x, right = sin(x);
  for (int i = 0; i < nodes / 6; ++i) {
    const Value sum = left + right;
    right = left * right;
    left = sum;
  }
  return left + right;
}

class Stopwatch {
 public:
  double lap() {
    const std::clock_t now = std::clock();
    const double seconds = static_cast<double>(now - last_) / CLOCKS_PER_SEC;
    last_ = now;
    return seconds;
  }

 private:
  std::clock_t last_ = std::clock();
};

void measure(const char* name, Value (*make)(Value, int), int nodes) {
  Stopwatch watch;
  Module module("scale");
  Function& f = module.function("train");
  const Value x = f.argument("x", {DType::f32, {Dim::symbol("batch"), 4}});
  const Value loss = mean(make(x, nodes));
  const double build = watch.lap();
  f.result("gradient", gradients({loss}, {x})[0]);
  const double differentiate = watch.lap();
  verify(f);
  const double check = watch.lap();
  const std::string text = to_text(module);
  const double print = watch.lap();
  const auto parsed = parse_module(text, standard_ops());
  const double parse = watch.lap();
  const Pipeline::Result optimized = optimize(f);
  const double optimise = watch.lap();
  const Plan plan = make_plan(*optimized.function, {{"batch", 32}}, *cpu::device(1));
  const double planning = watch.lap();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("%-8s %8d %8.2f %8.2f %8.2f %8.2f %8.2f %8.2f %8.2f %8.2f %8ld\n", name,
              f.line_count(), build, differentiate, check, print, parse, optimise, planning,
              build + differentiate + optimise + planning, usage.ru_maxrss / 1024);
}

int run(int largest) {
  std::printf("%-8s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s\n", "graph", "nodes", "build", "diff",
              "verify", "print", "parse", "optimise", "plan", "b+d+o+p", "peak MB");
  struct Case {
    const char* name;
    Value (*make)(Value, int);
  };
  for (const Case& graph : {Case{"chain", chain}, Case{"wide", wide}, Case{"diamond", diamond}}) {
    for (int exponent = 4, nodes = 10000; exponent <= largest; ++exponent, nodes *= 10) {
      std::fflush(stdout);
      const pid_t child = fork();
      if (child == 0) {
        measure(graph.name, graph.make, nodes);
        std::fflush(stdout);
        std::_Exit(0);
      }
      int status = 0;
      if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace adjoint

int main(int argc, char** argv) { return adjoint::run(argc > 1 ? std::atoi(argv[1]) : 6); }
