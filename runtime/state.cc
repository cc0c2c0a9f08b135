#include "runtime/state.h"

#include <algorithm>
#include <utility>

#include "graph/error.h"
#include "runtime/allocate.h"

namespace adjoint {
namespace {

std::string list_names(const auto& entries) {
  std::string names;
  for (const auto& entry : entries) names += (names.empty() ? "" : ", ") + entry.name;
  return names.empty() ? "none" : names;
}

bool has_unbound_symbols(const Dim& dim, const DimBindings& bindings) {
  DimBindings symbols;
  dim.collect_symbols(symbols);
  return !std::all_of(symbols.begin(), symbols.end(),
                      [&](const auto& symbol) { return bindings.contains(symbol.first); });
}

}  // namespace

std::string match_type(const Type& type, const TensorType& actual, DimBindings& bindings) {
  if (type.dtype != actual.dtype) return "the element type is not " + std::string(name(type.dtype));
  if (type.shape.rank() != static_cast<int>(actual.dims.size())) {
    return "the rank is " + std::to_string(actual.dims.size()) + ", not " +
           std::to_string(type.shape.rank());
  }
  DimBindings found = bindings;
  const auto check = [&](int axis) -> std::string {
    const Dim& dim = type.shape[axis];
    if (has_unbound_symbols(dim, found)) return "";
    const int64_t wanted = dim.evaluate(found);
    if (wanted == actual.dims[axis]) return "";
    const std::string why = dim.is_constant() ? "" : " (" + dim.to_text() + ")";
    return "dimension " + std::to_string(axis) + " is " + std::to_string(actual.dims[axis]) +
           ", not " + std::to_string(wanted) + why;
  };
  for (int axis = 0; axis < type.shape.rank(); ++axis) {
    const auto symbol = type.shape[axis].symbol_name();
    if (symbol) found.emplace(*symbol, actual.dims[axis]);
  }
  for (int axis = 0; axis < type.shape.rank(); ++axis) {
    if (std::string wrong = check(axis); !wrong.empty()) return wrong;
  }
  bindings = std::move(found);
  return "";
}

State::State(const Module& module, std::shared_ptr<Device> device)
    : module_(module.name()), device_(std::move(device)), revision_(std::make_shared<int>()) {
  for (const auto& variable : module.variables()) {
    variables_.push_back(
        {variable->name, variable->type,
         allocate(*device_, "variable '" + variable->name + "'", concrete(variable->type))});
  }
  for (const auto& resource : module.resources()) {
    resources_.push_back({resource->name, resource->type, {}});
  }
}

std::vector<std::string> State::variable_names() const {
  std::vector<std::string> names;
  for (const Entry& entry : variables_) names.push_back(entry.name);
  return names;
}

const State::Entry& State::find(const std::vector<Entry>& entries, std::string_view kind,
                                std::string_view name) const {
  for (const Entry& entry : entries) {
    if (entry.name == name) return entry;
  }
  throw PlanError("state of module '" + module_ + "': no " + std::string(kind) + " '" +
                  std::string(name) + "' (it has " + list_names(entries) + ")");
}

const Tensor& State::variable(std::string_view name) const {
  return find(variables_, "variable", name).value;
}

const Tensor& State::resource(std::string_view name) const {
  return find(resources_, "resource", name).value;
}

const TensorType& State::variable_type(std::string_view name) const {
  return variable(name).type();
}

Tensor State::get(std::string_view name) const {
  const Tensor& live = variable(name);
  Tensor copy = Tensor::uninitialized(live.type());
  device_->copy(live, copy);
  return copy;
}

void State::set(std::string_view name, const Tensor& value) {
  const Tensor& live = variable(name);
  if (!value || value.type() != live.type()) {
    throw PlanError("variable '" + std::string(name) + "' is " + to_text(live.type()) +
                    ", the value " + (value ? to_text(value.type()) : "empty"));
  }
  device_->copy(value, live);
}

void State::bind(std::string_view name, const Tensor& value) {
  const Entry& entry = find(resources_, "resource", name);
  const std::string prefix = "resource '" + std::string(name) + "' (" + to_text(entry.type) + ")";
  if (entry.value) throw PlanError(prefix + " is bound already");
  if (!value) throw PlanError(prefix + ": an empty tensor");
  DimBindings symbols = symbols_;
  if (const std::string wrong = match_type(entry.type, value.type(), symbols); !wrong.empty()) {
    throw PlanError(prefix + ": " + to_text(value.type()) + " does not fit: " + wrong);
  }
  Tensor held = value.device().kind == DeviceKind::cpu ? value.aligned() : value;
  if (held.device() != device_->id()) {
    Tensor there = allocate(*device_, "resource '" + entry.name + "'", held.type());
    device_->copy(held, there);
    held = there;
  }
  const_cast<Entry&>(entry).value = std::move(held);
  symbols_ = std::move(symbols);
  revision_ = std::make_shared<int>();
}

}  // namespace adjoint
