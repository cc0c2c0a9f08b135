// The state of a model: its variables' values on a device, and its resources.
//
//   State state(module, device);                       // variables are zeros
//   state.set("conv1/filter", tensor);
//   state.bind("train_images", Tensor::wrap(pixels, {DType::u8, {60000, 28, 28, 1}}));
//   train.run(state, {{"position", position}});        // runtime/executable.h; writes variables
//   Tensor w = state.get("conv1/filter");              // a copy on the host
//
// Step counters, random keys and optimiser state are variables like any other. A state has one user
// at a time.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/module.h"
#include "runtime/device.h"
#include "runtime/tensor.h"

namespace adjoint {

class State {
 public:
  // The module may go away afterwards.
  State(const Module& module, std::shared_ptr<Device> device);
  State(const State&) = delete;  // two states never share a variable
  State& operator=(const State&) = delete;
  State(State&&) = default;
  State& operator=(State&&) = default;

  const std::shared_ptr<Device>& device() const { return device_; }
  std::vector<std::string> variable_names() const;  // in the module's order
  const TensorType& variable_type(std::string_view name) const;

  // A copy on the host. All of these throw PlanError for unknown names, listing the known ones.
  Tensor get(std::string_view name) const;
  // Copies the values; throws PlanError where the type is not the variable's.
  void set(std::string_view name, const Tensor& value);

  // Gives a resource its tensor, once. One that is on the device, contiguous and aligned is used as
  // it is, without a copy: it must not change while the state lives. Symbols of the resource's type
  // get their values. Throws PlanError for another type, for a symbol that has another value
  // already, and for a resource that is bound.
  void bind(std::string_view name, const Tensor& value);
  const DimBindings& symbols() const { return symbols_; }

  // The live tensors on the device, for executables: empty for a resource not yet bound.
  const Tensor& variable(std::string_view name) const;
  const Tensor& resource(std::string_view name) const;
  // Differs between states, and after each bind().
  const std::shared_ptr<const int>& revision() const { return revision_; }

 private:
  struct Entry {
    std::string name;
    Type type;
    Tensor value;
  };
  const Entry& find(const std::vector<Entry>& entries, std::string_view kind,
                    std::string_view name) const;

  std::string module_;
  std::shared_ptr<Device> device_;
  std::vector<Entry> variables_;
  std::vector<Entry> resources_;
  DimBindings symbols_;
  std::shared_ptr<const int> revision_;
};

// Matches dimensions with a type that may hold symbols, adding what they say about symbols to
// `bindings`. Returns what is wrong, or "": element type, rank, a dimension, a symbol that has
// another value already. Expressions of several symbols are checked where all have values.
std::string match_type(const Type& type, const TensorType& actual, DimBindings& bindings);

}  // namespace adjoint
