#include "ops/initializers.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "graph/error.h"
#include "ops/random.h"
#include "ops/shape.h"

namespace adjoint {
namespace {

Value drawn_normal(const Variable& variable, Value key, double mean, double deviation) {
  return normal(key, variable.type, mean, deviation, stream_of(variable.name));
}

Value drawn_uniform(const Variable& variable, Value key, double low, double high) {
  return uniform(key, variable.type, low, high, stream_of(variable.name));
}

Value first_value(const Variable& variable, Value key) {
  const Initializer& initializer = variable.initializer;
  const Fans fans = fans_of(variable.type.shape);
  const double in = static_cast<double>(fans.in);
  const double mean_fan = (in + static_cast<double>(fans.out)) / 2;
  const double he_limit = std::sqrt(6 / in), glorot_limit = std::sqrt(3 / mean_fan);
  switch (initializer.kind) {
    case Init::zeros:
      return full(key.block(), variable.type, 0);
    case Init::ones:
      return full(key.block(), variable.type, 1);
    case Init::constant:
      return full(key.block(), variable.type, initializer.a);
    case Init::normal:
      return drawn_normal(variable, key, initializer.a, initializer.b);
    case Init::uniform:
      return drawn_uniform(variable, key, initializer.a, initializer.b);
    case Init::he_normal:
      return drawn_normal(variable, key, 0, std::sqrt(2 / in));
    case Init::he_uniform:
      return drawn_uniform(variable, key, -he_limit, he_limit);
    case Init::glorot_normal:
      return drawn_normal(variable, key, 0, std::sqrt(1 / mean_fan));
    case Init::glorot_uniform:
      return drawn_uniform(variable, key, -glorot_limit, glorot_limit);
  }
  throw GraphError("variable '" + variable.name + "' has an unknown initializer");
}

}  // namespace

Fans fans_of(const Shape& shape) {
  const std::vector<int64_t> dims = shape.static_dims();
  auto at_least_one = [](int64_t n) { return std::max<int64_t>(n, 1); };
  if (dims.empty()) return {};
  if (dims.size() == 1) return {at_least_one(dims[0]), at_least_one(dims[0])};
  int64_t field = 1;
  for (size_t i = 0; i + 2 < dims.size(); ++i) field *= dims[i];
  return {at_least_one(field * dims[dims.size() - 2]), at_least_one(field * dims.back())};
}

Function& add_initialize(Module& module, std::string name, std::source_location where) {
  if (module.find_function(name)) {
    throw GraphError("module '" + module.name() + "': there is a function '" + name + "' already");
  }
  // Built aside, so that a failure leaves nothing behind.
  auto function = std::make_unique<Function>(module, std::move(name));
  const Value key = function->argument("key", {DType::i64, {}}, where);
  for (const auto& variable : module.variables()) {
    const OriginScope scope(*function, variable->name, where);
    function->update(*variable, first_value(*variable, key), where);
  }
  return module.replace(std::move(function));
}

}  // namespace adjoint
