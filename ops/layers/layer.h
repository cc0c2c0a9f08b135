// What a layer is: a description that, given a place for its variables and the type of its input,
// declares the variables and gives the function that applies it. A layer of one's own:
//
//   LayerSpec shift(std::string name, std::source_location where = std::source_location::current())
//   {
//     return {std::move(name), "shift", where, [](LayerBuilder& b) -> ApplyLayer {
//               const Variable& by = b.variable("by", b.input().shape, {});
//               return [&by](const LayerContext& c, Value x) { return x + c.function.read(by); };
//             }};
//   }
#pragma once

#include <functional>
#include <source_location>
#include <string>
#include <vector>

#include "graph/module.h"

namespace adjoint {

enum class Mode {
  evaluation,  // running statistics, no dropout
  training,    // statistics of the batch, which move the running ones; dropout
};

// Where and how layers are applied.
struct LayerContext {
  Function& function;
  Mode mode = Mode::evaluation;
  Value key = {};  // i64[], for the random choices of training; another one for every step

  bool training() const { return mode == Mode::training; }
};

using ApplyLayer = std::function<Value(const LayerContext&, Value)>;

// What a layer sees while it is built.
class LayerBuilder {
 public:
  LayerBuilder(Module& module, std::string path, Type input)
      : module_(module), path_(std::move(path)), input_(std::move(input)) {}

  Module& module() const { return module_; }
  const std::string& path() const { return path_; }  // "block2/conv1"
  const Type& input() const { return input_; }
  // The size of the input's last dimension; throws GraphError where there is none, or a symbol.
  int64_t channels() const;

  // Declares the variable path/name, of the input's element type unless said.
  const Variable& variable(const std::string& name, const Shape& shape, Initializer initializer,
                           bool trainable = true);
  const Variable& variable(const std::string& name, const Type& type, Initializer initializer,
                           bool trainable = true);

 private:
  Module& module_;
  std::string path_;
  Type input_;
};

// A layer's description; it can be used any number of times.
struct LayerSpec {
  std::string name;            // of the scope, and where its variables' paths begin
  std::string kind;            // "conv2d"
  std::source_location where;  // the line that its nodes and its errors name
  std::function<ApplyLayer(LayerBuilder&)> build;
};

}  // namespace adjoint
