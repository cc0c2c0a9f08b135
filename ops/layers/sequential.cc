#include "ops/layers/sequential.h"

#include <utility>

#include "graph/error.h"

namespace adjoint {
namespace {

// The layer's variables are those of the module from the `first` on.
LayerSummary summarize(const LayerSpec& spec, const Module& module, size_t first,
                       const Type& output) {
  LayerSummary row{.name = spec.name, .kind = spec.kind, .output = output};
  for (size_t i = first; i < module.variables().size(); ++i) {
    const Variable& variable = *module.variables()[i];
    const int64_t count = variable.type.shape.element_count().value();
    (variable.trainable ? row.trainable : row.not_trainable) += count;
  }
  return row;
}

// The error of a layer, with its name, and its line where the error has none yet.
GraphError layer_error(const LayerSpec& spec, const GraphError& error) {
  std::string message = "layer '" + spec.name + "': " + error.what();
  if (message.find("\n  built at ") == std::string::npos) {
    message += "\n  built at " + to_text(SourceLine{spec.where.file_name(), spec.where.line()});
  }
  return GraphError(message);
}

std::string joined(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "/" + name;
}

}  // namespace

int64_t LayerBuilder::channels() const {
  if (input_.shape.rank() == 0 || !input_.shape.dims().back().is_constant()) {
    throw GraphError("the input's last dimension is not known: " + to_text(input_));
  }
  return input_.shape.dims().back().value();
}

const Variable& LayerBuilder::variable(const std::string& name, const Shape& shape,
                                       Initializer initializer, bool trainable) {
  return variable(name, Type{input_.dtype, shape}, initializer, trainable);
}

const Variable& LayerBuilder::variable(const std::string& name, const Type& type,
                                       Initializer initializer, bool trainable) {
  return module_.variable(joined(path_, name), type, initializer, trainable);
}

Sequential::Sequential(Module& module, Type input, std::vector<LayerSpec> layers, std::string path)
    : input_(std::move(input)), specs_(std::move(layers)) {
  // Tried out on another module first, so that a failure leaves nothing behind in this one.
  Module trial(module.name());
  build(trial, path);
  for (const auto& variable : trial.variables()) {
    if (module.find_variable(variable->name) || module.find_resource(variable->name)) {
      throw GraphError("module '" + module.name() + "': the name '" + variable->name +
                       "' is taken");
    }
  }
  build(module, path);
}

// Every layer is applied to a function that nobody keeps: its shape inference is that of its ops.
void Sequential::build(Module& module, const std::string& path) {
  layers_.clear();
  summary_.clear();
  Function shapes(module, "shapes");
  Value x = shapes.argument("x", input_);
  for (const LayerSpec& spec : specs_) {
    try {
      require_path(spec.name);
      const size_t first = module.variables().size();
      LayerBuilder builder(module, joined(path, spec.name), x.type());
      layers_.push_back(spec.build(builder));
      const OriginScope scope(shapes, spec.name, spec.where);
      x = layers_.back()({.function = shapes}, x);
      summary_.push_back(summarize(spec, module, first, x.type()));
    } catch (const GraphError& error) {
      throw layer_error(spec, error);
    }
  }
}

const Type& Sequential::output() const {
  return summary_.empty() ? input_ : summary_.back().output;
}

Value Sequential::apply(const LayerContext& context, Located input) const {
  Value x = input;
  if (!x || &x.block() != &context.function) {
    throw GraphError("layers: the input is no value of '" + context.function.name() +
                     "'\n  built at " +
                     to_text(SourceLine{input.where.file_name(), input.where.line()}));
  }
  const Rollback rollback(context.function);  // of all layers, where one fails
  for (size_t i = 0; i < layers_.size(); ++i) {
    const OriginScope scope(context.function, specs_[i].name, specs_[i].where);
    try {
      x = layers_[i](context, x);
    } catch (const GraphError& error) {
      throw layer_error(specs_[i], error);
    }
  }
  return x;
}

LayerSummary total(const std::vector<LayerSummary>& rows) {
  LayerSummary sum{.name = "total", .kind = "", .output = {}};
  for (const LayerSummary& row : rows) {
    sum.output = row.output;
    sum.trainable += row.trainable;
    sum.not_trainable += row.not_trainable;
  }
  return sum;
}

}  // namespace adjoint
