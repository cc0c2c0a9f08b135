#include "autodiff/gradients.h"

#include <algorithm>
#include <string>

#include "autodiff/gradient_pass.h"
#include "graph/error.h"
#include "ops/shape.h"

namespace adjoint {
namespace {

[[noreturn]] void fail(const std::string& message, const std::source_location& where) {
  throw GraphError("gradients: " + message + "\n  built at " +
                   to_text(SourceLine{where.file_name(), where.line()}));
}

std::string named(const char* what, size_t index) {
  return std::string(what) + " " + std::to_string(index);
}

void check_values(const char* what, const std::vector<Value>& values, const Block& block,
                  const std::source_location& where) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) fail(named(what, i) + " is an empty value", where);
    if (&values[i].block() != &block) {
      fail(named(what, i) + " belongs to '" + values[i].block().name() + "', not to '" +
               block.name() + "'",
           where);
    }
    if (!is_float(values[i].dtype())) {
      fail(named(what, i) + " is " + to_text(values[i].type()) + ", not a float type", where);
    }
  }
}

void check_cotangents(const std::vector<Value>& outputs, const std::vector<Value>& cotangents,
                      const std::source_location& where) {
  if (cotangents.empty()) return;
  if (cotangents.size() != outputs.size()) {
    fail(std::to_string(cotangents.size()) + " cotangents for " + std::to_string(outputs.size()) +
             " outputs",
         where);
  }
  check_values("cotangent", cotangents, outputs[0].block(), where);
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (cotangents[i].type() != outputs[i].type()) {
      fail(named("cotangent", i) + " is " + to_text(cotangents[i].type()) + ", its output " +
               to_text(outputs[i].type()),
           where);
    }
  }
}

void require_no_missing(const std::map<std::string_view, std::string>& missing,
                        const std::source_location& where) {
  if (missing.empty()) return;
  std::string message = "no gradient rule for";
  for (const auto& [op, line] : missing) message += "\n  " + line;
  fail(message, where);
}

const RuleSet& default_rules() {
  static const RuleSet kRules = standard_rules();
  return kRules;
}

// A tensor of one value, whose origin is the line that called gradients().
Value fill(Block& block, const Type& type, double value, const char* rule, const Origin& caller) {
  const GradientScope scope(block, caller, {.op = "", .rule = rule, .note = ""});
  return full(block, type, value);
}

}  // namespace

std::vector<Value> gradients(const std::vector<Value>& outputs, const std::vector<Value>& wrt,
                             const std::vector<Value>& cotangents, const GradientOptions& options,
                             std::vector<size_t>* unreached, std::source_location where) {
  if (outputs.empty() || !outputs[0]) fail("no outputs", where);
  Block& block = outputs[0].block();
  check_values("output", outputs, block, where);
  check_values("wrt", wrt, block, where);
  check_cotangents(outputs, cotangents, where);
  if (unreached) unreached->clear();
  if (wrt.empty()) return {};

  const auto first = std::min_element(
      wrt.begin(), wrt.end(), [](const Value& a, const Value& b) { return a.id() < b.id(); });
  GradientPass pass(block, options.rules ? *options.rules : default_rules(), first->id().node);
  pass.mark(outputs, wrt);
  require_no_missing(pass.missing(), where);
  const Rollback rollback(block);

  const Origin caller =
      make_origin({.where = {where.file_name(), where.line()}, .scope = "", .from = {}});
  std::vector<Value> seeds = cotangents;
  seeds.resize(outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!seeds[i] && pass.carries(outputs[i].id())) {
      seeds[i] = fill(block, outputs[i].type(), 1, "seed", caller);
    }
  }
  pass.run(outputs, seeds);

  std::vector<Value> results;
  for (size_t i = 0; i < wrt.size(); ++i) {
    Value result = pass.cotangent(wrt[i].id());
    if (!result) {
      result = fill(block, wrt[i].type(), 0, "zeros", caller);
      if (unreached) unreached->push_back(i);
    }
    results.push_back(result);
  }
  return results;
}

}  // namespace adjoint
