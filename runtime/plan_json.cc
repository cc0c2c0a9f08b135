// Plans as JSON, and back. Values and nodes are named as in the function's text, since node indices
// are not part of it.
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "graph/error.h"
#include "graph/parser.h"
#include "graph/printer.h"
#include "runtime/plan.h"

namespace adjoint {
namespace {

using Json = nlohmann::ordered_json;

// Only what the function needs of its module: the declarations.
std::string declarations(const Function& function) {
  const Module& module = function.module();
  Module result(module.name());
  for (int32_t n = 0; n < static_cast<int32_t>(function.size()); ++n) {
    const Node& node = function.node(n);
    if (node.op != &kResource) continue;
    result.resource(leaf_name(node), module.find_resource(leaf_name(node))->type);
  }
  for (const auto& variable : module.variables()) {
    result.variable(variable->name, variable->type, variable->initializer, variable->trainable);
  }
  return to_text(result);
}

Json json_of(const TensorType& type) {
  return {{"dtype", std::string(name(type.dtype))}, {"dims", type.dims}};
}

Json json_of(const PlanStorage& storage, const Function& function) {
  Json json = {{"kind", field_text(storage.kind)}, {"bytes", storage.bytes}};
  if (storage.kind != StorageKind::arena) json["type"] = json_of(storage.type);
  if (!storage.name.empty()) json["name"] = storage.name;
  if (storage.node >= 0) json["node"] = value_text(function, {storage.node, 0});
  return json;
}

Json json_of(const PlanBuffer& buffer, const Function& function) {
  Json json = {{"value", value_text(function, buffer.value)},
               {"storage", buffer.storage},
               {"offset", buffer.offset},
               {"bytes", buffer.bytes},
               {"first", buffer.first},
               {"last", buffer.last},
               {"placement", field_text(buffer.placement)}};
  if (buffer.alias_of >= 0) json["alias_of"] = buffer.alias_of;
  if (buffer.in_place_of >= 0) json["in_place_of"] = buffer.in_place_of;
  return json;
}

Json json_of(const Launch& launch, const Function& function) {
  Json json = {{"kernel", launch.kernel},
               {"provider", std::string(launch.provider())},
               {"stream", launch.stream},
               {"waits", launch.waits},
               {"inputs", launch.inputs},
               {"outputs", launch.outputs},
               {"workspace_offset", launch.workspace_offset},
               {"workspace_bytes", launch.workspace_bytes},
               {"flops", launch.flops},
               {"bytes", launch.bytes},
               {"fallible", launch.fallible},
               {"writes_state", launch.writes_state}};
  if (!launch.is_copy()) json["node"] = value_text(function, {launch.node, 0});
  return json;
}

class PlanReader {
 public:
  PlanReader(const Json& json, const OpSet& ops) : json_(json), ops_(ops) {}

  Plan read() {
    const int version = json_.at("adjoint_plan");
    if (version != kPlanVersion) {
      throw PlanError("plan: version " + std::to_string(version) + "; this program reads " +
                      std::to_string(kPlanVersion));
    }
    plan_.device = json_.at("device");
    for (const auto& [symbol, value] : json_.at("bindings").items()) {
      plan_.bindings[symbol] = value;
    }
    read_function();
    for (const Json& storage : json_.at("storages")) read_storage(storage);
    for (const Json& buffer : json_.at("buffers")) read_buffer(buffer);
    for (const Json& launch : json_.at("launches")) read_launch(launch);
    return std::move(plan_);
  }

 private:
  void read_function() {
    std::shared_ptr<Module> module =
        parse_module(json_.at("module").get<std::string>(), ops_, "plan");
    const Function& function =
        parse_function(json_.at("function").get<std::string>(), *module, ops_, "plan");
    plan_.function = std::shared_ptr<const Function>(module, &function);
    for (int32_t n = 0; n < static_cast<int32_t>(function.size()); ++n) {
      const int32_t outputs = static_cast<int32_t>(function.node(n).types.size());
      for (int32_t output = 0; output < outputs; ++output) {
        values_[value_text(function, {n, output})] = {n, output};
      }
    }
  }

  ValueId value(const Json& name) const {
    const auto found = values_.find(name.get<std::string>());
    if (found != values_.end()) return found->second;
    throw PlanError("plan: no value '" + name.get<std::string>() + "' in its function");
  }

  void read_storage(const Json& json) {
    PlanStorage storage;
    parse_field(json.at("kind").get<std::string>(), storage.kind);
    storage.bytes = json.at("bytes");
    if (storage.kind != StorageKind::arena) {
      storage.type.dtype = parse_dtype(json.at("type").at("dtype").get<std::string>());
      storage.type.dims = json.at("type").at("dims").get<std::vector<int64_t>>();
    }
    storage.name = json.value("name", "");
    if (json.contains("node")) storage.node = value(json.at("node")).node;
    plan_.storages.push_back(std::move(storage));
  }

  void read_buffer(const Json& json) {
    PlanBuffer buffer{.value = value(json.at("value")),
                      .storage = json.at("storage"),
                      .offset = json.at("offset"),
                      .bytes = json.at("bytes"),
                      .first = json.at("first"),
                      .last = json.at("last"),
                      .alias_of = json.value("alias_of", -1),
                      .in_place_of = json.value("in_place_of", -1)};
    parse_field(json.at("placement").get<std::string>(), buffer.placement);
    plan_.buffers.push_back(buffer);
  }

  void read_launch(const Json& json) {
    Launch launch{.kernel = json.at("kernel"), .stream = json.at("stream")};
    if (json.contains("node")) launch.node = value(json.at("node")).node;
    launch.waits = json.at("waits").get<std::vector<int32_t>>();
    launch.inputs = json.at("inputs").get<std::vector<int32_t>>();
    launch.outputs = json.at("outputs").get<std::vector<int32_t>>();
    launch.workspace_offset = json.at("workspace_offset");
    launch.workspace_bytes = json.at("workspace_bytes");
    launch.flops = json.at("flops");
    launch.bytes = json.at("bytes");
    launch.fallible = json.at("fallible");
    launch.writes_state = json.at("writes_state");
    plan_.launches.push_back(std::move(launch));
  }

  const Json& json_;
  const OpSet& ops_;
  Plan plan_;
  std::unordered_map<std::string, ValueId> values_;
};

}  // namespace

std::string plan_to_json(const Plan& plan, int indent, TextMode mode) {
  const Function& function = *plan.function;
  Json json = {{"adjoint_plan", kPlanVersion},
               {"device", plan.device},
               {"bindings", Json::object()},
               {"arena_bytes", plan.arena_bytes()},
               {"peak_bytes", plan.peak_bytes()},
               {"module", declarations(function)},
               {"function", to_text(function, mode)},
               {"storages", Json::array()},
               {"buffers", Json::array()},
               {"launches", Json::array()}};
  for (const auto& [symbol, value] : plan.bindings) json["bindings"][symbol] = value;
  for (const auto& storage : plan.storages) json["storages"].push_back(json_of(storage, function));
  for (const auto& buffer : plan.buffers) json["buffers"].push_back(json_of(buffer, function));
  for (const auto& launch : plan.launches) json["launches"].push_back(json_of(launch, function));
  return json.dump(indent);
}

Plan plan_from_json(std::string_view json, const OpSet& ops) {
  try {
    return PlanReader(Json::parse(json), ops).read();
  } catch (const nlohmann::json::exception& error) {
    throw PlanError("plan: " + std::string(error.what()));
  } catch (const GraphError& error) {
    throw PlanError("plan: " + std::string(error.what()));
  }
}

}  // namespace adjoint
