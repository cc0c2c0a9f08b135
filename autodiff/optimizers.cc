#include "autodiff/optimizers.h"

#include <algorithm>
#include <set>
#include <type_traits>
#include <utility>

#include "autodiff/gradients.h"
#include "graph/error.h"
#include "ops/builder.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"

namespace adjoint {
namespace {

[[noreturn]] void fail(const std::string& message, const std::source_location& where) {
  throw GraphError("optimizer: " + message + "\n  built at " +
                   to_text(SourceLine{where.file_name(), where.line()}));
}

// Checks of options, each with the line that gave them.
struct Check {
  std::source_location where;

  void that(bool in_range, const char* name, double value) const {
    if (!in_range) fail(std::string(name) + " is out of range: " + field_text(value), where);
  }
  void not_negative(const char* name, double value) const { that(value >= 0, name, value); }
  void fraction(const char* name, double value) const {
    that(value >= 0 && value < 1, name, value);
  }
};

// p - step, where step has the type of p.
Value stepped(const ParameterUpdate& u, Value step) { return u.parameter() - step; }

// g + weight_decay * p
Value decayed(const ParameterUpdate& u, double weight_decay) {
  if (weight_decay == 0) return u.gradient();
  return u.gradient() + weight_decay * u.parameter();
}

// The moving average in this state: decay * old + (1 - decay) * next.
Value averaged(ParameterUpdate& u, const std::string& state, double decay, Value next) {
  const Value old = decay * u.state(state);
  return u.set_state(state, old + (1 - decay) * next);
}

// momentum * old + next
Value with_momentum(ParameterUpdate& u, double momentum, Value next) {
  return u.set_state("momentum", momentum * u.state("momentum") + next);
}

Value like(Value x, Value scalar) { return cast(scalar, x.dtype()); }

// What Adam and AdamW share: from p, g to the next p.
template <typename Options>
Optimizer::Formula adam_formula(const Options& o, Value step) {
  const Value t = cast(step, DType::f64);
  const Value one_minus_power1 = 1.0 - pow(scalar_like(t, o.beta1), t);
  const Value one_minus_power2 = 1.0 - pow(scalar_like(t, o.beta2), t);
  const Value rate = o.learning_rate.times(reciprocal(one_minus_power1));
  const Value root = sqrt(one_minus_power2);
  return [o, rate, root](ParameterUpdate& u) {
    constexpr bool kDecoupled = std::is_same_v<Options, AdamWOptions>;
    const Value g = kDecoupled ? u.gradient() : decayed(u, o.weight_decay);
    Value p = u.parameter();
    if (kDecoupled && o.weight_decay != 0) p = p - o.learning_rate.times(o.weight_decay * p);
    const Value m = averaged(u, "m", o.beta1, g);
    const Value v = averaged(u, "v", o.beta2, square(g));
    const Value denominator = sqrt(v) / like(v, root) + o.epsilon;
    return p - like(m, rate) * (m / denominator);
  };
}

template <typename Options>
void check_adam(const Options& o, const Check& check) {
  check.fraction("beta1", o.beta1);
  check.fraction("beta2", o.beta2);
  check.not_negative("epsilon", o.epsilon);
  check.not_negative("weight_decay", o.weight_decay);
}

Optimizer::MakeFormula sgd(const SgdOptions& o, const Check& check) {
  check.not_negative("momentum", o.momentum);
  check.not_negative("weight_decay", o.weight_decay);
  if (o.nesterov && o.momentum == 0) fail("nesterov needs a momentum", check.where);
  return [o](Value) -> Optimizer::Formula {
    return [o](ParameterUpdate& u) {
      Value g = decayed(u, o.weight_decay);
      if (o.momentum != 0) {
        const Value m = with_momentum(u, o.momentum, g);
        g = o.nesterov ? g + o.momentum * m : m;
      }
      return stepped(u, o.learning_rate.times(g));
    };
  };
}

Optimizer::MakeFormula adam(const AdamOptions& o, const Check& check) {
  check_adam(o, check);
  return [o](Value t) { return adam_formula(o, t); };
}

Optimizer::MakeFormula adamw(const AdamWOptions& o, const Check& check) {
  check_adam(o, check);
  return [o](Value t) { return adam_formula(o, t); };
}

Optimizer::MakeFormula rmsprop(const RmsPropOptions& o, const Check& check) {
  check.not_negative("alpha", o.alpha);
  check.not_negative("epsilon", o.epsilon);
  check.not_negative("momentum", o.momentum);
  check.not_negative("weight_decay", o.weight_decay);
  return [o](Value) -> Optimizer::Formula {
    return [o](ParameterUpdate& u) {
      const Value g = decayed(u, o.weight_decay);
      Value v = averaged(u, "square", o.alpha, square(g));
      if (o.centered) v = v - square(averaged(u, "average", o.alpha, g));
      Value direction = g / (sqrt(v) + o.epsilon);
      if (o.momentum != 0) direction = with_momentum(u, o.momentum, direction);
      return stepped(u, o.learning_rate.times(direction));
    };
  };
}

Optimizer::MakeFormula adagrad(const AdagradOptions& o, const Check& check) {
  check.not_negative("rate_decay", o.rate_decay);
  check.not_negative("initial_accumulator", o.initial_accumulator);
  check.not_negative("epsilon", o.epsilon);
  check.not_negative("weight_decay", o.weight_decay);
  return [o](Value t) -> Optimizer::Formula {
    Value decay;  // none: 1
    if (o.rate_decay != 0) decay = reciprocal(1.0 + o.rate_decay * cast(t - 1.0, DType::f64));
    return [o, decay](ParameterUpdate& u) {
      const Value g = decayed(u, o.weight_decay);
      const Value s = u.set_state("sum", u.state("sum", o.initial_accumulator) + square(g));
      const Value direction = g / (sqrt(s) + o.epsilon);
      return stepped(u, decay ? like(g, o.learning_rate.times(decay)) * direction
                              : o.learning_rate.times(direction));
    };
  };
}

const Variable& step_variable(Module& module) {
  const Variable* known = module.find_variable("optimizer/step");
  return known ? *known : module.variable("optimizer/step", {DType::i64, {}}, {}, false);
}

bool has_update(const Function& f, const std::string& variable) {
  return std::any_of(f.updates().begin(), f.updates().end(),
                     [&](const Update& update) { return update.variable == variable; });
}

void check_update(const Function& f, const Variable& variable, Value gradient,
                  const std::source_location& where) {
  const std::string name = "'" + variable.name + "'";
  if (f.module().find_variable(variable.name) != &variable) {
    fail(name + " is no variable of module '" + f.module().name() + "'", where);
  }
  if (!gradient || &gradient.block() != &f || gradient.type() != variable.type) {
    fail("the gradient of " + name + ", which is " + to_text(variable.type) + ", is " +
             (gradient ? to_text(gradient.type()) : "empty") +
             (gradient && &gradient.block() != &f ? " of another function" : ""),
         where);
  }
  if (has_update(f, variable.name)) fail(name + " has an update already", where);
}

// The trainable variables that the function reads.
std::vector<const Variable*> used_variables(Function& f) {
  std::vector<const Variable*> used;
  for (const auto& variable : f.module().variables()) {
    if (!variable->trainable || !is_float(variable->type.dtype)) continue;
    if (f.find_leaf(variable->name)) used.push_back(variable.get());
  }
  return used;
}

}  // namespace

LearningRate::LearningRate(Value rate, std::source_location where) : schedule_(rate) {
  if (!rate) fail("the learning rate is an empty value", where);
}

Value LearningRate::times(Value x) const {
  return is_number() ? number_ * x : cast(schedule_, x.dtype()) * x;
}

Value step_count(Function& f, std::source_location where) {
  return f.read(step_variable(f.module()), where);
}

std::vector<Value> clip_by_global_norm(const std::vector<Value>& gradients, double max_norm,
                                       Value* norm, std::source_location where) {
  if (gradients.empty()) fail("no gradients to clip", where);
  for (Value g : gradients) {
    if (!g) fail("a gradient is an empty value", where);
  }
  if (!(max_norm > 0)) fail("the norm is clipped to " + field_text(max_norm), where);
  const OriginScope scope(gradients[0].block(), "clip", where);
  const bool wide = std::any_of(gradients.begin(), gradients.end(),
                                [](Value g) { return g.dtype() == DType::f64; });
  const DType dtype = wide ? DType::f64 : DType::f32;
  auto as = [](Value x, DType type) { return x.dtype() == type ? x : cast(x, type); };
  Value squares;
  for (const Value& g : gradients) {
    const Value sum_of_squares = sum(square(as(g, dtype)));
    squares = squares ? squares + sum_of_squares : sum_of_squares;
  }
  const Value root = sqrt(squares);
  const Value factor = minimum(max_norm / (root + 1e-6), 1.0);
  if (norm) *norm = root;
  std::vector<Value> clipped;
  for (const Value& g : gradients) clipped.push_back(g * as(factor, g.dtype()));
  return clipped;
}

ParameterUpdate::ParameterUpdate(Function& function, const Variable& variable, Value gradient)
    : function_(function),
      variable_(variable),
      parameter_(function.read(variable)),
      gradient_(gradient) {}

Value ParameterUpdate::state(const std::string& name, double initial) {
  const std::string path = "optimizer/" + variable_.name + "/" + name;
  Module& module = function_.module();
  const Variable* known = module.find_variable(path);
  if (!known) {
    const Initializer start = initial == 0 ? Initializer{} : Initializer{Init::constant, initial};
    known = &module.variable(path, variable_.type, start, /*trainable=*/false);
  }
  return function_.read(*known);
}

Value ParameterUpdate::set_state(const std::string& name, Value next) {
  state(name);
  function_.update(*function_.module().find_variable("optimizer/" + variable_.name + "/" + name),
                   next);
  return next;
}

Optimizer::Optimizer(LearningRate rate, MakeFormula formula, std::source_location where)
    : rate_(std::move(rate)), formula_(std::move(formula)) {
  if (rate_.is_number()) Check{where}.not_negative("learning_rate", rate_.number());
}

void Optimizer::minimize(Function& f, Value loss, const MinimizeOptions& options,
                         std::source_location where) const {
  if (!loss || &loss.block() != &f) fail("the loss is no value of '" + f.name() + "'", where);
  if (loss.rank() != 0 || !is_float(loss.dtype())) {
    fail("the loss is " + to_text(loss.type()) + ", not a float scalar", where);
  }
  const auto variables = options.variables.empty() ? used_variables(f) : options.variables;
  std::vector<Value> parameters;
  for (const Variable* variable : variables) {
    if (!variable) fail("a variable is null", where);
    parameters.push_back(f.read(*variable, where));
  }
  std::vector<size_t> unreached;
  const std::vector<Value> all = gradients({loss}, parameters, {}, {}, &unreached, where);
  std::vector<const Variable*> reached;
  std::vector<Value> reached_gradients;
  for (size_t i = 0; i < all.size(); ++i) {
    if (std::find(unreached.begin(), unreached.end(), i) != unreached.end()) continue;
    reached.push_back(variables[i]);
    reached_gradients.push_back(all[i]);
  }
  if (reached.empty()) fail("the loss depends on no trainable variable", where);
  if (options.clip_norm != 0) {
    reached_gradients = clip_by_global_norm(reached_gradients, options.clip_norm, nullptr, where);
  }
  apply(f, reached, reached_gradients, where);
}

void Optimizer::apply(Function& f, const std::vector<const Variable*>& variables,
                      const std::vector<Value>& gradients, std::source_location where) const {
  if (variables.size() != gradients.size()) {
    fail(std::to_string(gradients.size()) + " gradients for " + std::to_string(variables.size()) +
             " variables",
         where);
  }
  std::set<const Variable*> seen;
  for (size_t i = 0; i < variables.size(); ++i) {
    if (!variables[i]) fail("a variable is null", where);
    check_update(f, *variables[i], gradients[i], where);
    if (!seen.insert(variables[i]).second) fail("'" + variables[i]->name + "' comes twice", where);
  }
  const Value schedule = rate_.schedule();
  if (schedule &&
      (&schedule.block() != &f || schedule.rank() != 0 || !is_float(schedule.dtype()))) {
    fail("the learning rate is " + to_text(schedule.type()) + ", not a float scalar of '" +
             f.name() + "'",
         where);
  }
  const OriginScope scope(f, "optimizer", where);
  const Variable& counter = step_variable(f.module());
  const Value next = f.read(counter, where) + 1.0;
  const Formula formula = formula_(next);
  for (size_t i = 0; i < variables.size(); ++i) {
    const OriginScope inner(f, variables[i]->name, where);
    ParameterUpdate update(f, *variables[i], gradients[i]);
    f.update(*variables[i], formula(update), where);
  }
  if (!has_update(f, counter.name)) f.update(counter, next, where);
}

Sgd::Sgd(const SgdOptions& options, std::source_location where)
    : Optimizer(options.learning_rate, sgd(options, {where}), where) {}
Adam::Adam(const AdamOptions& options, std::source_location where)
    : Optimizer(options.learning_rate, adam(options, {where}), where) {}
AdamW::AdamW(const AdamWOptions& options, std::source_location where)
    : Optimizer(options.learning_rate, adamw(options, {where}), where) {}
RmsProp::RmsProp(const RmsPropOptions& options, std::source_location where)
    : Optimizer(options.learning_rate, rmsprop(options, {where}), where) {}
Adagrad::Adagrad(const AdagradOptions& options, std::source_location where)
    : Optimizer(options.learning_rate, adagrad(options, {where}), where) {}

}  // namespace adjoint
