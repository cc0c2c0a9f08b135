#include "graph/json.h"

#include <nlohmann/json.hpp>

#include "graph/printer.h"

namespace adjoint {
namespace {

using Json = nlohmann::ordered_json;

Json gradient_json(const GradientOrigin& from) {
  Json json = Json::object();
  if (from.forward >= 0) json["forward"] = from.forward;
  if (!from.op.empty()) json["op"] = from.op;
  if (!from.rule.empty()) json["rule"] = from.rule;
  if (from.operand >= 0) json["operand"] = from.operand;
  if (!from.note.empty()) json["note"] = from.note;
  return json;
}

Json origin_json(const Origin& origin) {
  Json list = Json::array();
  for (const OriginEntry& entry : *origin) {
    Json json = Json::object();
    if (entry.where.line > 0) {
      json["file"] = entry.where.file;
      json["line"] = entry.where.line;
    }
    if (!entry.scope.empty()) json["scope"] = entry.scope;
    if (entry.from) json["from"] = gradient_json(*entry.from);
    if (!json.empty()) list.push_back(std::move(json));
  }
  return list;
}

Json leaf_json(const Node& node, TextMode mode) {
  Json json = {{"name", leaf_name(node)}, {"type", to_text(node.types[0])}};
  if (mode == TextMode::full) json["origin"] = origin_json(node.origin);
  return json;
}

void add_body(Json& json, const Block& block, TextMode mode);

Json node_json(const Block& block, const Node& node, TextMode mode) {
  Json json = {{"number", node.number}, {"op", node.op->name}, {"version", node.op->version}};
  Json operands = Json::array();
  for (ValueId id : node.operands) operands.push_back(value_text(block, id));
  json["operands"] = std::move(operands);
  Json attributes = Json::object();
  for (const auto& [name, text] : node.attributes.field_texts()) attributes[name] = text;
  json["attributes"] = std::move(attributes);
  Json types = Json::array();
  for (const Type& type : node.types) types.push_back(to_text(type));
  json["types"] = std::move(types);
  if (mode == TextMode::full) json["origin"] = origin_json(node.origin);
  for (const auto& nested : node.blocks) {
    Json body = Json::object();
    add_body(body, *nested, mode);
    json["blocks"].push_back(std::move(body));
  }
  return json;
}

void add_body(Json& json, const Block& block, TextMode mode) {
  const auto* function = dynamic_cast<const Function*>(&block);
  json["arguments"] = Json::array();
  if (function != nullptr) json["reads"] = Json::array();
  json["nodes"] = Json::array();
  for (int32_t i = 0; i < static_cast<int32_t>(block.size()); ++i) {
    const Node& node = block.node(i);
    if (node.op == &kArgument) {
      json["arguments"].push_back(leaf_json(node, mode));
    } else if (node.op->traits.leaf) {
      json["reads"].push_back(leaf_json(node, mode));
    } else {
      json["nodes"].push_back(node_json(block, node, mode));
    }
  }
  if (function != nullptr) {
    json["updates"] = Json::array();
    for (const Update& update : function->updates()) {
      json["updates"].push_back(
          {{"variable", update.variable}, {"value", value_text(block, update.value)}});
    }
  }
  json["results"] = Json::array();
  for (const Block::Result& result : block.results()) {
    json["results"].push_back({{"name", result.name}, {"value", value_text(block, result.value)}});
  }
}

Json function_json(const Function& function, TextMode mode) {
  Json json = {{"name", function.name()}};
  add_body(json, function, mode);
  return json;
}

// Names and files may hold any bytes; what is not UTF-8 is replaced.
std::string dump(const Json& json) {
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string to_json(const Module& module, TextMode mode) {
  Json json = {{"adjoint", kTextVersion}, {"module", module.name()}};
  json["variables"] = Json::array();
  for (const auto& v : module.variables()) {
    json["variables"].push_back({{"name", v->name},
                                 {"type", to_text(v->type)},
                                 {"initializer", to_text(v->initializer)},
                                 {"trainable", v->trainable}});
  }
  json["resources"] = Json::array();
  for (const auto& r : module.resources()) {
    json["resources"].push_back({{"name", r->name}, {"type", to_text(r->type)}});
  }
  json["functions"] = Json::array();
  for (const auto& function : module.functions()) {
    json["functions"].push_back(function_json(*function, mode));
  }
  return dump(json);
}

std::string to_json(const Function& function, TextMode mode) {
  return dump(function_json(function, mode));
}

}  // namespace adjoint
