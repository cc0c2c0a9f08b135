#include "graph/module.h"

#include <algorithm>
#include <utility>

#include "graph/error.h"

namespace adjoint {
namespace {

bool takes_parameters(Init kind) {
  return kind == Init::constant || kind == Init::normal || kind == Init::uniform;
}

template <typename T>
T* find_named(const std::vector<std::unique_ptr<T>>& items, std::string_view name) {
  for (const auto& item : items) {
    if constexpr (std::is_same_v<T, Function>) {
      if (item->name() == name) return item.get();
    } else {
      if (item->name == name) return item.get();
    }
  }
  return nullptr;
}

}  // namespace

std::string to_text(const Initializer& initializer) {
  std::string text = field_text(initializer.kind);
  if (!takes_parameters(initializer.kind)) return text;
  text += "(" + field_text(initializer.a);
  if (initializer.kind != Init::constant) text += "," + field_text(initializer.b);
  return text + ")";
}

Initializer parse_initializer(std::string_view text) {
  Initializer result;
  const size_t open = text.find('(');
  parse_field(text.substr(0, open), result.kind);
  if (takes_parameters(result.kind) != (open != std::string_view::npos)) {
    throw GraphError("not an initializer: '" + std::string(text) + "'");
  }
  if (open == std::string_view::npos) return result;
  std::string_view inner = text.substr(open + 1);
  if (inner.empty() || inner.back() != ')') {
    throw GraphError("not an initializer: '" + std::string(text) + "'");
  }
  inner.remove_suffix(1);
  const size_t comma = inner.find(',');
  parse_field(inner.substr(0, comma), result.a);
  if (comma != std::string_view::npos) parse_field(inner.substr(comma + 1), result.b);
  return result;
}

Value Function::read(const Variable& variable, std::source_location where) {
  const Variable* known = module_.find_variable(variable.name);
  if (known == nullptr || known->type != variable.type) {
    throw GraphError(name() + ": '" + variable.name + "' is no variable of module '" +
                     module_.name() + "'" + built_at(origin_at(where)));
  }
  return leaf(kVariable, variable.name, variable.type, origin_at(where));
}

Value Function::resource(const Resource& resource, std::source_location where) {
  if (module_.find_resource(resource.name) == nullptr) {
    throw GraphError(name() + ": '" + resource.name + "' is no resource of module '" +
                     module_.name() + "'" + built_at(origin_at(where)));
  }
  return leaf(kResource, resource.name, resource.type, origin_at(where));
}

void Function::update(const Variable& variable, Value value, std::source_location where) {
  if (!value || &value.block() != this || module_.find_variable(variable.name) == nullptr) {
    throw GraphError("update of '" + variable.name + "': the variable or the value is not of '" +
                     name() + "'" + built_at(origin_at(where)));
  }
  if (value.type() != variable.type) {
    throw GraphError("update of '" + variable.name + "': the variable is " +
                     to_text(variable.type) + ", the value " + to_text(value.type()) +
                     built_at(origin_at(where)));
  }
  for (const Update& update : updates_) {
    if (update.variable == variable.name) {
      throw GraphError("update of '" + variable.name + "': it has an update already" +
                       built_at(origin_at(where)));
    }
  }
  updates_.push_back({variable.name, value.id()});
}

void Function::truncate(size_t size) {
  std::erase_if(updates_,
                [size](const Update& u) { return u.value.node >= static_cast<int32_t>(size); });
  Block::truncate(size);
}

void Module::require_new_name(const std::string& name) const {
  require_path(name);
  if (find_variable(name) || find_resource(name)) {
    throw GraphError("module '" + name_ + "': the name '" + name + "' is taken");
  }
}

const Variable& Module::variable(std::string name, Type type, Initializer initializer,
                                 bool trainable) {
  require_new_name(name);
  if (!type.shape.is_static()) {
    throw GraphError("variable '" + name + "': the shape of " + to_text(type) +
                     " is not known (symbols are for arguments)");
  }
  variables_.push_back(std::make_unique<Variable>(
      Variable{std::move(name), std::move(type), initializer, trainable}));
  variables_by_name_.emplace(variables_.back()->name, variables_.back().get());
  return *variables_.back();
}

const Resource& Module::resource(std::string name, Type type) {
  require_new_name(name);
  resources_.push_back(std::make_unique<Resource>(Resource{std::move(name), std::move(type)}));
  return *resources_.back();
}

Function& Module::function(std::string name) {
  require_path(name);
  if (find_function(name)) {
    throw GraphError("module '" + name_ + "': there is a function '" + name + "' already");
  }
  functions_.push_back(std::make_unique<Function>(*this, std::move(name)));
  return *functions_.back();
}

Function& Module::replace(std::unique_ptr<Function> function) {
  for (auto& slot : functions_) {
    if (slot->name() != function->name()) continue;
    slot = std::move(function);
    return *slot;
  }
  functions_.push_back(std::move(function));
  return *functions_.back();
}

const Variable* Module::find_variable(std::string_view name) const {
  auto found = variables_by_name_.find(std::string(name));
  return found == variables_by_name_.end() ? nullptr : found->second;
}

const Resource* Module::find_resource(std::string_view name) const {
  return find_named(resources_, name);
}

Function* Module::find_function(std::string_view name) const {
  return find_named(functions_, name);
}

Function& Module::get_function(std::string_view name) const {
  if (Function* function = find_function(name)) return *function;
  std::string known;
  for (const auto& function : functions_) known += (known.empty() ? "" : ", ") + function->name();
  throw GraphError("module '" + name_ + "' has no function '" + std::string(name) + "' (it has " +
                   (known.empty() ? "none" : known) + ")");
}

}  // namespace adjoint
