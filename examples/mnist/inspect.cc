// The subcommands that show what would run: summary and dump.
#include <cstdio>
#include <fstream>
#include <iostream>

#include "examples/mnist/commands.h"
#include "examples/mnist/setup.h"
#include "examples/mnist/summary.h"
#include "graph/dot.h"
#include "graph/error.h"
#include "graph/json.h"
#include "graph/printer.h"
#include "runtime/optimize.h"
#include "runtime/planner.h"

namespace adjoint::mnist {
namespace {

// MNIST's own counts; a dump needs no data.
constexpr int64_t kTrainCount = 60000;

std::string function_text(const Function& function, const Settings& settings) {
  if (settings.format == "dot") return to_dot(function);
  if (settings.format == "json") return to_json(function);
  return to_module_text(function, settings.structural ? TextMode::structural : TextMode::full);
}

std::string plan_text(const Function& optimized, const Settings& settings) {
  const ChosenDevice chosen = choose_device(settings);
  const Plan plan = make_plan(optimized, {{"batch", settings.batch}, {"train_count", kTrainCount}},
                              *chosen.device);
  if (settings.format == "dot") return to_dot(*plan.function);
  return settings.format == "json" ? plan_to_json(plan, 1) : to_text(plan);
}

std::string dump_text(const Settings& settings) {
  const MnistModel model({.network = settings.model});
  if (settings.what == "forward") return function_text(model.evaluate(), settings);
  if (settings.what == "gradient") return function_text(model.train(), settings);
  const auto optimized = optimize(model.train());
  if (settings.what == "optimized") {
    return function_text(*optimized.function, settings);
  }
  return plan_text(*optimized.function, settings);
}

}  // namespace

int run_summary(const Settings& settings) {
  const MnistModel model({.network = settings.model});
  std::printf("%s", layer_table(model.network()).c_str());
  return 0;
}

int run_dump(const Settings& settings) {
  std::string text = dump_text(settings);
  if (text.empty() || text.back() != '\n') text += '\n';
  if (settings.out.empty()) {
    std::cout << text << std::flush;
    if (!std::cout) throw DataError("cannot write to standard output");
    return 0;
  }
  std::ofstream file(settings.out, std::ios::binary);
  file << text << std::flush;
  if (!file) throw DataError("cannot write " + settings.out.string());
  return 0;
}

}  // namespace adjoint::mnist
