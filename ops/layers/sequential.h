// Layers one after the other, with their variables.
//
//   Module m("mlp");
//   Sequential net(m, Type::parse("f32[batch,784]"),
//                  {layers::dense("dense1", 512), layers::relu(), layers::dense("dense2", 10)});
//   Function& train = m.function("train");
//   Value x = train.argument("x", net.input());
//   Value logits = net.apply({train, Mode::training}, x);
//
// The variables belong to the module; a Sequential may be applied any number of times, in training
// and in evaluation, always with the same variables. A single layer is a Sequential of one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/layers/layer.h"

namespace adjoint {

// A row of the layer table.
struct LayerSummary {
  std::string name;
  std::string kind;
  Type output;
  int64_t trainable = 0;  // numbers of parameters
  int64_t not_trainable = 0;

  int64_t parameters() const { return trainable + not_trainable; }
};

class Sequential {
 public:
  // Declares the layers' variables. Throws GraphError, naming layer, shapes and line, where a layer
  // does not fit its input or a variable's name is taken; the module is then as it was.
  Sequential(Module& module, Type input, std::vector<LayerSpec> layers, std::string path = "");

  const Type& input() const { return input_; }
  const Type& output() const;
  // A row for each layer.
  const std::vector<LayerSummary>& summary() const { return summary_; }

  // Adds the layers' nodes to the context's function, each under its layer's name and line. In
  // training, also the updates of running statistics: at most once in one function. Throws
  // GraphError as the ops do.
  Value apply(const LayerContext& context, Located x) const;

 private:
  void build(Module& module, const std::string& path);

  Type input_;
  std::vector<LayerSpec> specs_;
  std::vector<ApplyLayer> layers_;
  std::vector<LayerSummary> summary_;
};

// The sum of all rows, named "total", of the last row's output.
LayerSummary total(const std::vector<LayerSummary>& rows);

}  // namespace adjoint
