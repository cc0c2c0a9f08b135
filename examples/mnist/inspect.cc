// The subcommands that show what would run: summary and dump.
#include <cstddef>
#include <cstdio>
#include <span>

#include "examples/mnist/commands.h"
#include "examples/mnist/setup.h"
#include "examples/mnist/summary.h"
#include "graph/dot.h"
#include "graph/json.h"
#include "graph/printer.h"
#include "runtime/file_ops.h"
#include "runtime/optimize.h"
#include "runtime/planner.h"

namespace adjoint::mnist {
namespace {

// MNIST's own counts; a dump needs no data.
constexpr int64_t kTrainCount = 60000;

TextMode mode_of(const Settings& settings) {
  return settings.structural ? TextMode::structural : TextMode::full;
}

std::string function_text(const Function& function, const Settings& settings, bool as_built) {
  const TextMode mode = mode_of(settings);
  if (settings.format == "dot") return to_dot(function, {.as_built = as_built, .mode = mode});
  if (settings.format == "json") return to_json(function, mode);
  return to_module_text(function, mode);
}

std::string plan_text(const Function& optimized, const ChosenDevice& chosen,
                      const Settings& settings) {
  const Plan plan = make_plan(optimized, {{"batch", settings.batch}, {"train_count", kTrainCount}},
                              *chosen.device);
  if (settings.format == "dot") return function_text(*plan.function, settings, false);
  const TextMode mode = mode_of(settings);
  return settings.format == "json" ? plan_to_json(plan, 1, mode) : to_text(plan, mode);
}

std::string dump_text(const Settings& settings) {
  const MnistModel model({.network = settings.model});
  if (settings.what == "forward") return function_text(model.evaluate(), settings, true);
  if (settings.what == "gradient") return function_text(model.train(), settings, true);
  const ChosenDevice chosen = choose_device(settings);
  const auto optimized = apply_precision(*optimize(model.train()).function, chosen.precision);
  if (settings.what == "optimized") return function_text(*optimized.function, settings, false);
  return plan_text(*optimized.function, chosen, settings);
}

void write_file(const std::string& path, const std::string& text) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(text));
  FileOps ops;
  write_file_safely(path, std::span(&bytes, 1), ops);
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
    std::fwrite(text.data(), 1, text.size(), stdout);
  } else {
    write_file(settings.out, text);
  }
  return 0;
}

}  // namespace adjoint::mnist
