// The DOT and JSON writers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "graph/dot.h"
#include "graph/json.h"
#include "graph/parser.h"
#include "graph/test_ops.h"

namespace adjoint {
namespace {

constexpr char kText[] = R"(adjoint 1
module "m \"1\"" {
  variable w : f32[2] = constant(0.5) not_trainable
  resource r : f32[n]
  function train(x: f32[2] @at("a.cc":1)) {
    %0 = add(x, w) : f32[2] @at("a.cc":2, scope="conv1")
    %1 = split(%0) {sizes=[1,1]} : f32[1], f32[1] @at("a.cc":3)
    %2 = region(%1.1) : f32[1] @from(%1, op=split, rule=split, operand=0, note="sum", at="a.cc":3) {
      block(a: f32[1]) {
        %0 = neg(a) : f32[1]
        return y=%0
      }
    }
    %3 = neg(r) : f32[n]
    update w <- %0
    return loss=%2, second=%3
  }
}
)";

std::unique_ptr<Module> parse() { return parse_module(kText, test_ops::test_ops()); }

TEST(Dot, WritesClustersAndOrigins) {
  EXPECT_EQ(to_dot(*parse()->functions()[0]), R"(digraph "train" {
  node [shape=box, fontname="Helvetica"];
  n0 [shape=ellipse, label="argument x\nf32[2]"];
  n1 [shape=ellipse, label="variable w\nf32[2]"];
  n5 [shape=ellipse, label="resource r\nf32[n]"];
  subgraph cluster_forward {
    graph [label="forward", color=gray];
    n2 [label="%0 add\nf32[2]\nconv1"];
    n3 [label="%1 split\n{sizes=[1,1]}\nf32[1]\nf32[1]"];
    n6 [label="%3 neg\nf32[n]"];
  }
  subgraph cluster_gradient {
    graph [label="gradient", color=steelblue, style=dashed];
    n4 [label="%2 region\n[neg]\nf32[1]", style=filled, fillcolor=lightblue];
  }
  n0 -> n2;
  n1 -> n2;
  n2 -> n3;
  n3 -> n4 [label=".1"];
  n4 -> n3 [style=dashed, color=gray, constraint=false, label="split"];
  n5 -> n6;
  end0 [shape=plaintext, label="update w"];
  n2 -> end0;
  end1 [shape=plaintext, label="return loss"];
  n4 -> end1;
  end2 [shape=plaintext, label="return second"];
  n6 -> end2;
}
)");
}

TEST(Dot, LinksNoNumbersOfAnotherFunction) {
  const std::string text = to_dot(*parse()->functions()[0], {.as_built = false});
  EXPECT_EQ(text.find("label=\"split\""), std::string::npos);
}

TEST(Dot, StructuralModeSaysNothingOfOrigins) {
  const std::string text = to_dot(*parse()->functions()[0], {.mode = TextMode::structural});
  EXPECT_THAT(text, testing::HasSubstr("n2 [label=\"%0 add\\nf32[2]\"];"));
  EXPECT_THAT(text, testing::HasSubstr("n4 [label=\"%2 region\\n[neg]\\nf32[1]\"];"));
  for (const char* part : {"conv1", "cluster", "dashed", "lightblue"}) {
    EXPECT_THAT(text, testing::Not(testing::HasSubstr(part)));
  }
}

TEST(Dot, EscapesAndShortens) {
  Module module("m");
  Function& f = module.function("f");
  const Value x = f.argument("x", {DType::f32, {}});
  test_ops::every(x, {.text = std::string(100, '"')});
  const std::string text = to_dot(f);
  EXPECT_THAT(text, testing::HasSubstr(R"({text=\"\\\"\\\")"));
  EXPECT_THAT(text, testing::HasSubstr("...\\nf32[]\"];"));
}

TEST(Json, SaysEverything) {
  const nlohmann::json json = nlohmann::json::parse(to_json(*parse()));
  EXPECT_EQ(json["adjoint"], 1);
  EXPECT_EQ(json["module"], "m \"1\"");
  EXPECT_EQ(json["variables"], nlohmann::json::parse(R"json([{"name": "w", "type": "f32[2]",
      "initializer": "constant(0.5)", "trainable": false}])json"));
  EXPECT_EQ(json["resources"],
            nlohmann::json::parse(R"json([{"name": "r", "type": "f32[n]"}])json"));
  ASSERT_EQ(json["functions"].size(), 1u);
  EXPECT_EQ(json["functions"][0], nlohmann::json::parse(R"json({
    "name": "train",
    "arguments": [{"name": "x", "type": "f32[2]", "origin": [{"file": "a.cc", "line": 1}]}],
    "reads": [{"name": "w", "type": "f32[2]", "origin": []},
              {"name": "r", "type": "f32[n]", "origin": []}],
    "nodes": [
      {"number": 0, "op": "add", "version": 1, "operands": ["x", "w"], "attributes": {},
       "types": ["f32[2]"], "origin": [{"file": "a.cc", "line": 2, "scope": "conv1"}]},
      {"number": 1, "op": "split", "version": 1, "operands": ["%0"],
       "attributes": {"sizes": "[1,1]"}, "types": ["f32[1]", "f32[1]"],
       "origin": [{"file": "a.cc", "line": 3}]},
      {"number": 2, "op": "region", "version": 1, "operands": ["%1.1"], "attributes": {},
       "types": ["f32[1]"],
       "origin": [{"file": "a.cc", "line": 3,
                   "from": {"forward": 1, "op": "split", "rule": "split", "operand": 0,
                            "note": "sum"}}],
       "blocks": [{"arguments": [{"name": "a", "type": "f32[1]", "origin": []}],
                   "nodes": [{"number": 0, "op": "neg", "version": 1, "operands": ["a"],
                              "attributes": {}, "types": ["f32[1]"], "origin": []}],
                   "results": [{"name": "y", "value": "%0"}]}]},
      {"number": 3, "op": "neg", "version": 1, "operands": ["r"], "attributes": {},
       "types": ["f32[n]"], "origin": []}],
    "updates": [{"variable": "w", "value": "%0"}],
    "results": [{"name": "loss", "value": "%2"}, {"name": "second", "value": "%3"}]})json"));
  EXPECT_EQ(nlohmann::json::parse(to_json(*parse()->functions()[0])), json["functions"][0]);
}

TEST(Json, StructuralModeLeavesOriginsOut) {
  const std::string full = to_json(*parse()), text = to_json(*parse(), TextMode::structural);
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("\"origin\"")));
  // Nothing else is missing.
  nlohmann::json without = nlohmann::json::parse(full);
  const std::function<void(nlohmann::json&)> drop = [&](nlohmann::json& json) {
    if (json.is_object()) json.erase("origin");
    if (json.is_structured()) std::for_each(json.begin(), json.end(), drop);
  };
  drop(without);
  EXPECT_EQ(nlohmann::json::parse(text), without);
}

TEST(Json, SurvivesBytesThatAreNotUtf8) {
  Module module("\xff\"");
  EXPECT_EQ(nlohmann::json::parse(to_json(module))["module"], "\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace adjoint
