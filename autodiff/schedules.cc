#include "autodiff/schedules.h"

#include <numbers>
#include <string>

#include "graph/error.h"
#include "ops/builder.h"
#include "ops/elementwise.h"

namespace adjoint {
namespace {

[[noreturn]] void fail(const std::string& message, const std::source_location& where) {
  throw GraphError("schedule: " + message + "\n  built at " +
                   to_text(SourceLine{where.file_name(), where.line()}));
}

// Nodes of a schedule carry its line.
OriginScope schedule_scope(const Located& step) {
  if (!step.value) fail("the step counter is an empty value", step.where);
  if (step.value.type() != Type{DType::i64, {}}) {
    fail("the step counter is " + to_text(step.value.type()) + ", not i64[]", step.where);
  }
  return OriginScope(step.value.block(), "schedule", step.where);
}

void require_steps(const char* what, int64_t steps, const std::source_location& where) {
  if (steps < 1)
    fail(std::string(what) + " is " + std::to_string(steps) + ", not at least 1", where);
}

Value power(double factor, Value exponent) { return pow(scalar_like(exponent, factor), exponent); }

// min(t, steps) / steps
Value progress(Value step, int64_t steps) {
  const auto all = static_cast<double>(steps);
  return minimum(cast(step, DType::f64), all) / all;
}

}  // namespace

Value constant_rate(Located step, double rate) {
  const OriginScope scope = schedule_scope(step);
  return constant(step.value.block(), Literal::scalar(DType::f64, rate), step.where);
}

Value step_decay(Located step, double rate, int64_t every, double factor) {
  const OriginScope scope = schedule_scope(step);
  require_steps("every", every, step.where);
  const Value stage = step.value / constant(step.value.block(), Literal::integer(every));
  return rate * power(factor, cast(stage, DType::f64));
}

Value exponential_decay(Located step, double rate, double factor) {
  const OriginScope scope = schedule_scope(step);
  return rate * power(factor, cast(step.value, DType::f64));
}

Value cosine_decay(Located step, double rate, int64_t steps, double last) {
  const OriginScope scope = schedule_scope(step);
  require_steps("steps", steps, step.where);
  const Value wave = cos(std::numbers::pi * progress(step, steps));
  return last + (rate - last) / 2 * (1.0 + wave);
}

Value warm_up(Located step, int64_t steps, Value rate, double start) {
  const OriginScope scope = schedule_scope(step);
  require_steps("steps", steps, step.where);
  if (!rate || rate.type() != Type{DType::f64, {}}) {
    fail("the rate is " + (rate ? to_text(rate.type()) : "an empty value") + ", not f64[]",
         step.where);
  }
  return rate * (start + (1 - start) * progress(step, steps));
}

}  // namespace adjoint
