// Modules: the variables and resources of a model and its named functions (train, evaluate ...).
//
//   Module module("linear");
//   const Variable& w = module.variable("w", {DType::f32, {784, 10}}, {.kind = Init::he_normal});
//   Function& f = module.function("train");
//   Value x = f.argument("x", {DType::f32, {Dim::symbol("batch"), 784}});
//   Value weights = f.read(w);
//   Value loss = mean(square(matmul(x, weights)));
//   f.update(w, weights - 0.1 * gradients({loss}, {weights})[0]);
//   f.result("loss", loss);
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/block.h"

namespace adjoint {

class Module;

enum class Init {
  zeros,
  ones,
  constant,        // every element a
  normal,          // mean a, standard deviation b
  uniform,         // from a to b
  he_normal,       // deviation sqrt(2 / fan_in)
  he_uniform,      // limit sqrt(6 / fan_in)
  glorot_normal,   // deviation sqrt(2 / (fan_in + fan_out))
  glorot_uniform,  // limit sqrt(6 / (fan_in + fan_out))
};
template <>
struct EnumNames<Init> {
  static constexpr std::string_view kNames[] = {"zeros",      "ones",          "constant",
                                                "normal",     "uniform",       "he_normal",
                                                "he_uniform", "glorot_normal", "glorot_uniform"};
};

// How a variable gets its first value. Fans are those of Keras: the last dimension is the output,
// the one before it the input, all earlier ones the receptive field.
struct Initializer {
  Init kind = Init::zeros;
  double a = 0;
  double b = 0;
  static constexpr auto fields() {
    return std::tuple{Field{"a", &Initializer::a}, Field{"b", &Initializer::b}};
  }
  bool operator==(const Initializer&) const = default;
};
// "he_normal", "normal(0,0.5)", "constant(3)".
std::string to_text(const Initializer& initializer);
Initializer parse_initializer(std::string_view text);

// A module's variable; the name identifies it.
struct Variable {
  std::string name;
  Type type;  // static shape
  Initializer initializer;
  bool trainable = true;  // false for running statistics, step counters, keys
};

struct Resource {
  std::string name;
  Type type;  // may hold symbols (the number of images)
};

struct Update {
  std::string variable;
  ValueId value;
};

// A block with a name, named results and updates, which take effect together after the step.
class Function final : public Block {
 public:
  Function(Module& module, std::string name) : Block(std::move(name)), module_(module) {}

  Module& module() const { return module_; }

  // The variable's value at the start of the step; throws GraphError for one not of this module.
  Value read(const Variable& variable,
             std::source_location where = std::source_location::current());
  Value resource(const Resource& resource,
                 std::source_location where = std::source_location::current());
  // w <- value after the step. At most one update for each variable, of its own type (GraphError).
  void update(const Variable& variable, Value value,
              std::source_location where = std::source_location::current());
  const std::vector<Update>& updates() const { return updates_; }

 private:
  void truncate(size_t size) override;

  Module& module_;
  std::vector<Update> updates_;
};

class Module {
 public:
  explicit Module(std::string name) : name_(std::move(name)) {}
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const std::string& name() const { return name_; }

  // Declares a variable; the name is a path of [A-Za-z0-9_.] parts joined by '/', new in the
  // module, the shape static (GraphError).
  const Variable& variable(std::string name, Type type, Initializer initializer = {},
                           bool trainable = true);
  const Resource& resource(std::string name, Type type);
  // A new, empty function; the name must be new.
  Function& function(std::string name);
  // Puts in a function that a pass built, under its own name, in place of one of the same name.
  Function& replace(std::unique_ptr<Function> function);

  // Null where there is none.
  const Variable* find_variable(std::string_view name) const;
  const Resource* find_resource(std::string_view name) const;
  Function* find_function(std::string_view name) const;
  // Throws GraphError, listing the functions there are.
  Function& get_function(std::string_view name) const;

  const std::vector<std::unique_ptr<Variable>>& variables() const { return variables_; }
  const std::vector<std::unique_ptr<Resource>>& resources() const { return resources_; }
  const std::vector<std::unique_ptr<Function>>& functions() const { return functions_; }

 private:
  void require_new_name(const std::string& name) const;

  std::string name_;
  std::vector<std::unique_ptr<Variable>> variables_;
  std::vector<std::unique_ptr<Resource>> resources_;
  std::vector<std::unique_ptr<Function>> functions_;
  std::unordered_map<std::string, const Variable*> variables_by_name_;
};

}  // namespace adjoint
