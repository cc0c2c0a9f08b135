// Optimisers: they build the nodes that compute a variable's next value, and the updates.
//
//   Sgd({.learning_rate = 0.5}).minimize(train, loss);
//   Adam({.learning_rate = rate}).minimize(train, loss, {.clip_norm = 1});
//
// Formulae and defaults are those of PyTorch 2's torch.optim (single tensor, not "capturable",
// neither amsgrad nor maximize). p is the parameter, g its gradient, r the learning rate and t the
// number of this step, 1 in the first; all state begins at zero unless said. Factors that depend on
// t are computed in f64. State is kept in variables that are not trainable: optimizer/NAME/m and so
// on for the variable NAME, and optimizer/step, the number of steps done, which all optimisers of a
// module share. Declare the variables' first values after the optimiser is built (add_initialize).
#pragma once

#include <functional>
#include <source_location>
#include <string>
#include <vector>

#include "graph/module.h"

namespace adjoint {

// A number, or a scalar of a float type (a schedule).
class LearningRate {
 public:
  LearningRate(double rate) : number_(rate) {}  // NOLINT
  // Throws GraphError for an empty value.
  LearningRate(Value rate,  // NOLINT
               std::source_location where = std::source_location::current());

  bool is_number() const { return !schedule_; }
  double number() const { return number_; }
  Value schedule() const { return schedule_; }
  // rate * x; a schedule is rounded to the type of x.
  Value times(Value x) const;

 private:
  double number_ = 0;
  Value schedule_;
};

// The steps done before this one, i64[]; declares optimizer/step where the module has none.
Value step_count(Function& f, std::source_location where = std::source_location::current());

// All gradients times min(1, max_norm / (norm + 1e-6)), norm being the root of the sum of all their
// elements' squares (torch.nn.utils.clip_grad_norm_). `norm`, if given, receives the norm: an f32
// scalar, f64 where a gradient is. Throws GraphError for no gradients or max_norm not above 0.
std::vector<Value> clip_by_global_norm(
    const std::vector<Value>& gradients, double max_norm, Value* norm = nullptr,
    std::source_location where = std::source_location::current());

struct MinimizeOptions {
  double clip_norm = 0;                         // of all gradients together; 0: not clipped
  std::vector<const Variable*> variables = {};  // none: all trainable ones that the loss uses
};

// One variable's update, as a formula sees it.
class ParameterUpdate {
 public:
  ParameterUpdate(Function& function, const Variable& variable, Value gradient);

  Value parameter() const { return parameter_; }
  Value gradient() const { return gradient_; }
  // The state NAME of this variable as the step finds it; declares it, each element `initial`.
  Value state(const std::string& name, double initial = 0);
  // Sets it; returns `next`.
  Value set_state(const std::string& name, Value next);

 private:
  const Variable& state_variable(const std::string& name) const;

  Function& function_;
  const Variable& variable_;
  Value parameter_;
  Value gradient_;
};

// An optimiser is a learning rate and a formula; one of one's own is made like those below.
class Optimizer {
 public:
  // Gives the parameter's next value, and sets the state on the way.
  using Formula = std::function<Value(ParameterUpdate&)>;
  // Makes the formula for all variables of step `t`, an i64[] that counts from 1.
  using MakeFormula = std::function<Formula(Value t)>;
  Optimizer(LearningRate rate, MakeFormula formula,
            std::source_location where = std::source_location::current());

  // Adds the gradients of the loss, a float scalar of f, the variables' updates and the step
  // counter's. A variable that the loss does not depend on is left alone. Throws GraphError where
  // there is nothing to minimise, or a variable has an update already.
  void minimize(Function& f, Value loss, const MinimizeOptions& options = {},
                std::source_location where = std::source_location::current()) const;
  // The same for given gradients, one for each variable and of its type.
  void apply(Function& f, const std::vector<const Variable*>& variables,
             const std::vector<Value>& gradients,
             std::source_location where = std::source_location::current()) const;

 private:
  LearningRate rate_;
  MakeFormula formula_;
};

// The constructors throw GraphError for options out of range.

// g <- g + weight_decay * p
// momentum 0:  p <- p - r g
// else:        m <- momentum * m + g (so m = g in the first step);  p <- p - r m
// nesterov:    p <- p - r (g + momentum * m), m as above
struct SgdOptions {
  LearningRate learning_rate = 1e-3;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;
};
struct Sgd : Optimizer {
  explicit Sgd(const SgdOptions& options = {},
               std::source_location where = std::source_location::current());
};

// g <- g + weight_decay * p
// m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
// p <- p - r / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
struct AdamOptions {
  LearningRate learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
};
struct Adam : Optimizer {
  explicit Adam(const AdamOptions& options = {},
                std::source_location where = std::source_location::current());
};

// As Adam, but the weight decay is p <- p - r * weight_decay * p, before and apart from the rest.
struct AdamWOptions {
  LearningRate learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 1e-2;
};
struct AdamW : Optimizer {
  explicit AdamW(const AdamWOptions& options = {},
                 std::source_location where = std::source_location::current());
};

// g <- g + weight_decay * p;  v <- alpha v + (1 - alpha) g^2
// centered:    a <- alpha a + (1 - alpha) g;  d = sqrt(v - a^2) + epsilon, else sqrt(v) + epsilon
// momentum 0:  p <- p - r g / d;  else m <- momentum * m + g / d;  p <- p - r m
struct RmsPropOptions {
  LearningRate learning_rate = 1e-2;
  double alpha = 0.99;
  double epsilon = 1e-8;
  double momentum = 0;
  bool centered = false;
  double weight_decay = 0;
};
struct RmsProp : Optimizer {
  explicit RmsProp(const RmsPropOptions& options = {},
                   std::source_location where = std::source_location::current());
};

// g <- g + weight_decay * p;  s <- s + g^2 (s begins at initial_accumulator)
// p <- p - r / (1 + (t - 1) rate_decay) * g / (sqrt(s) + epsilon)
struct AdagradOptions {
  LearningRate learning_rate = 1e-2;
  double rate_decay = 0;
  double initial_accumulator = 0;
  double epsilon = 1e-10;
  double weight_decay = 0;
};
struct Adagrad : Optimizer {
  explicit Adagrad(const AdagradOptions& options = {},
                   std::source_location where = std::source_location::current());
};

}  // namespace adjoint
