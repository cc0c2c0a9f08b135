// The text dump and its parser: they are each other's inverse.
#include "graph/printer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "graph/parser.h"
#include "graph/test_ops.h"
#include "graph/verifier.h"

namespace adjoint {
namespace {

using namespace test_ops;
using testing::HasSubstr;

constexpr char kLinear[] = R"(adjoint 1
module "linear_relu" {
  variable dense/w : f32[784,10] = he_normal
  variable dense/b : f32[10] = constant(0.5)
  variable step : i64[] = zeros not_trainable
  resource images : u8[n,28,28]
  function train(x: f32[batch,784], t: f32[batch,10]) {
    %0 = matmul(x, dense/w) : f32[batch,10]
    %1 = add(%0, dense/b) : f32[batch,10]
    %2 = relu(%1) : f32[batch,10]
    %3 = sub(%2, t) : f32[batch,10]
    %4 = matmul(x, %3) {ta=true} : f32[784,10]
    %5 = split(images) {sizes=[3,n-3]} : u8[3,28,28], u8[n-3,28,28]
    %6 = constant() {value=f32[10]{0,1,2,3,4,5,6,7,8,1e-45}} : f32[10]
    update dense/w <- %4
    update dense/b <- %6
    return difference=%3, first=%5.0, rest=%5.1, same=x
  }
  function empty() {
  }
}
)";

std::string round_trip(const std::string& text, TextMode mode) {
  return to_text(*parse_module(text, test_ops::test_ops()), mode);
}

TEST(Printer, StructuralTextParsesBack) {
  EXPECT_EQ(round_trip(kLinear, TextMode::structural), kLinear);
  // Without a file no origin is known, so that the full text differs in its columns alone.
  const std::string full = round_trip(kLinear, TextMode::full);
  EXPECT_EQ(full.find('@'), std::string::npos);
  EXPECT_EQ(round_trip(full, TextMode::full), full);
  EXPECT_EQ(round_trip(full, TextMode::structural), kLinear);
}

// A model with a layer, a gradient node, a joined origin and a nested block.
std::unique_ptr<Module> rich_module() {
  auto module = std::make_unique<Module>("rich \"one\"\\");
  const Variable& w = module->variable("w", {DType::f32, {4, 2}}, {Init::uniform, -1, 0.1});
  const Resource& images = module->resource("images", {DType::u8, {Dim::symbol("n"), 2}});
  Function& f = module->function("train");
// clang-format off: the lines count
#line 10 "model.cc"
  Value x = f.argument("x", {DType::f32, {Dim::symbol("batch"), 4}});
  Value h;
  {
    const OriginScope scope(f, "dense \"1\"", std::source_location::current());
    h = matmul(x, f.read(w));
  }
  Value y = relu(h);
  Value g;
  {
    const GradientScope scope(
        f, y.node().origin,
        {.forward = 1, .op = "relu", .rule = "relu", .operand = 0, .note = "broadcast, \"so\""});
    g = neg(y);
  }
  f.add_with_origin(kNeg, {g.id()}, {}, join_origins(g.node().origin, h.node().origin));
  auto block = std::make_shared<Block>("body");
  Value a = block->argument("a0", g.type());
  block->result("out", relu(neg(a)));
  block->result("in", a);
  const Value region = f.add_with_origin(kRegion, {g.id()}, {}, y.node().origin, {block});
  f.result("loss", region);
  f.result("images", f.resource(images));
  // clang-format on
  return module;
}

constexpr char kRich[] = R"(adjoint 1
module "rich \"one\"\\" {
  variable w : f32[4,2] = uniform(-1,0.1)
  resource images : u8[n,2]
  function train(x: f32[batch,4] @at("model.cc":10)) {
    read w @at("model.cc":13, scope="dense \"1\"")
    read images @at("model.cc":31)
    %0 = matmul(x, w)                    : f32[batch,2]      @at("model.cc":13, scope="dense \"1\"")
    %1 = relu(%0)                        : f32[batch,2]      @at("model.cc":16)
    %2 = neg(%1)                         : f32[batch,2]      @from(%1, op=relu, rule=relu, operand=0, note="broadcast, \"so\"", at="model.cc":16)
    %3 = neg(%2)                         : f32[batch,2]      @from(%1, op=relu, rule=relu, operand=0, note="broadcast, \"so\"", at="model.cc":16) @at("model.cc":13, scope="dense \"1\"")
    %4 = region(%2)                      : f32[batch,2], f32[batch,2] @at("model.cc":16) {
      block(a0: f32[batch,2] @at("model.cc":26)) {
        %0 = neg(a0)                         : f32[batch,2]      @at("model.cc":27)
        %1 = relu(%0)                        : f32[batch,2]      @at("model.cc":27)
        return out=%1, in=a0
      }
    }
    return loss=%4.0, images=images
  }
}
)";

TEST(Printer, FullTextHoldsOriginsAndParsesBack) {
  const auto module = rich_module();
  EXPECT_EQ(to_text(*module), kRich);
  EXPECT_EQ(round_trip(kRich, TextMode::full), kRich);
  const std::string structural = to_text(*module, TextMode::structural);
  EXPECT_EQ(structural.find('@'), std::string::npos);
  EXPECT_EQ(round_trip(structural, TextMode::structural), structural);
  EXPECT_EQ(round_trip(kRich, TextMode::structural), structural);
}

TEST(Printer, PrintsAFunctionAndABlockAlone) {
  const auto module = rich_module();
  const Function& train = *module->functions()[0];
  const std::string text = to_text(train, TextMode::structural);
  EXPECT_THAT(text, testing::StartsWith("function train(x: f32[batch,4]) {\n  %0 = matmul(x, w)"));
  Module other("other");
  other.variable("w", {DType::f32, {4, 2}});
  other.resource("images", {DType::u8, {Dim::symbol("n"), 2}});
  const Function& parsed = parse_function(text, other, test_ops::test_ops());
  EXPECT_EQ(to_text(parsed, TextMode::structural), text);
  EXPECT_EQ(&parsed, other.find_function("train"));

  const Block& body = *train.node(train.results()[0].value).blocks[0];
  const std::string block = to_text(body);
  EXPECT_EQ(to_text(*parse_block(block, test_ops::test_ops())), block);
}

TEST(Printer, OneFunctionWithTheModulesDeclarationsParsesBack) {
  const auto module = parse_module(kLinear, test_ops::test_ops());
  const std::string text = to_module_text(module->get_function("empty"), TextMode::structural);
  EXPECT_THAT(text, HasSubstr("variable dense/w : f32[784,10] = he_normal\n"));
  EXPECT_THAT(text, HasSubstr("function empty() {\n"));
  EXPECT_EQ(text.find("function train"), std::string::npos);
  EXPECT_EQ(round_trip(text, TextMode::structural), text);
}

TEST(Printer, EveryKindOfAttribute) {
  Module module("m");
  Function& f = module.function("f");
  Value x = f.argument("x", {DType::f32, {}});
  EveryAttributes all;
  all.flag = false;
  all.number = std::numeric_limits<int64_t>::min();
  all.real = 0.1;
  all.dtype = DType::boolean;
  all.text = "a, \"b\" \\ {}\n)]}";
  all.dim = floor_div(Dim::symbol("n") + 1, 2);
  all.shape = {Dim::symbol("n"), 0};
  all.type = {DType::bf16, {2, Dim::symbol("m")}};
  all.literal = Literal::of<int64_t>({2}, {1, -2});
  all.list = {3, -4};
  all.mode = Mode::fancy;
  every(x, all);
  every(x, {});
  const std::string text = to_text(module, TextMode::structural);
  EXPECT_THAT(text,
              HasSubstr(R"(%0 = every@2(x) {flag=false, number=-9223372036854775808, real=0.1, )"
                        R"(dtype=bool, text="a, \"b\" \\ {}\n)]}", dim=((n+1)//2), )"
                        R"(shape=[n,0], type=bf16[2,m], literal=i64[2]{1,-2}, list=[3,-4], )"
                        R"(mode=fancy} : f32[])"));
  EXPECT_THAT(text, HasSubstr("%1 = every@2(x) : f32[]"));
  const auto parsed = parse_module(text, test_ops::test_ops());
  EXPECT_EQ(to_text(*parsed, TextMode::structural), text);
  EXPECT_EQ(parsed->functions()[0]->node(1).attributes, Attributes(all));
}

TEST(Parser, NodesGetTheLineOfTheFile) {
  const auto module = parse_module(kLinear, test_ops::test_ops(), "linear.adjoint");
  const Node& node = module->functions()[0]->node(module->functions()[0]->results()[0].value);
  EXPECT_EQ(to_text(line_of(node.origin)), "linear.adjoint:11");
}

TEST(Parser, TypesAndWhiteSpaceAreFree) {
  const std::string text = R"(adjoint 1 module "m" { # a comment, "with a quote
    function f ( x : f32[2] ) { %0=neg(x)%1 = every@2 ( %0 ) { real = 2 , list=[1] }
    return y=%1 } })";
  EXPECT_EQ(round_trip(text, TextMode::structural), R"(adjoint 1
module "m" {
  function f(x: f32[2]) {
    %0 = neg(x) : f32[2]
    %1 = every@2(%0) {real=2, list=[1]} : f32[2]
    return y=%1
  }
}
)");
}

TEST(Parser, SpecialisedResourcesKeepTheirType) {
  const std::string text = R"(adjoint 1
module "m" {
  resource images : u8[n,2]
  function f() {
    read images : u8[60000,2]
    %0 = neg(images) : u8[60000,2]
  }
}
)";
  EXPECT_EQ(round_trip(text, TextMode::structural), text);
}

// Replaces the first `from` by `to` in kLinear and returns the error.
std::string error_of(const std::string& from, const std::string& to) {
  std::string text = kLinear;
  const size_t position = text.find(from);
  EXPECT_NE(position, std::string::npos) << from;
  text.replace(position, from.size(), to);
  try {
    parse_module(text, test_ops::test_ops());
  } catch (const GraphError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Parser, ErrorsNameTheLine) {
  EXPECT_EQ(error_of("adjoint 1", "adjoint 2"),
            "line 1: version 2 of the text is not known (this is 1)");
  EXPECT_EQ(error_of("relu(%1)", "rellu(%1)"), "line 10: unknown op 'rellu'; did you mean 'relu'?");
  EXPECT_EQ(error_of("relu(%1)", "relu@3(%1)"),
            "line 10: op 'relu' has version 1, the text has version 3");
  EXPECT_EQ(error_of("relu(%1)", "relu(%2)"), "line 10: %2 is not built before this line");
  EXPECT_EQ(error_of("relu(%1)", "relu(%1.0)"), "line 10: %1.0 is no output of a node with 1");
  EXPECT_EQ(error_of("first=%5.0", "first=%5"), "line 17: %5 is no output of a node with 2");
  EXPECT_EQ(error_of("first=%5.0", "first=%5.2"), "line 17: %5.2 is no output of a node with 2");
  EXPECT_EQ(error_of("relu(%1)", "relu(%1.x)"), "line 10: '%1.x' is no value");
  EXPECT_EQ(error_of("relu(%1)", "relu(%1, %1)"), "line 10: relu: takes 1 operand, not 2");
  EXPECT_EQ(error_of("relu(%1)", "relu(z)"),
            "line 10: there is no argument, variable or resource 'z'");
  EXPECT_EQ(error_of("relu(%1)", "relu(%1) {slope=2}"), "line 10: relu: unknown attribute 'slope'");
  EXPECT_EQ(error_of("{ta=true}", "{tb=true}"),
            "line 12: matmul: inner dimensions differ: f32[batch,784] x f32[batch,10] "
            "(784 and 10)");
  EXPECT_EQ(error_of("{ta=true}", "{ta=maybe}"), "line 12: not a bool: 'maybe'");
  EXPECT_EQ(error_of("{ta=true}", "{ta=true, ta=true}"), "line 12: attribute 'ta' stands twice");
  EXPECT_EQ(error_of("%3) {ta=true} : f32[784,10]", "%3) {ta=true} : f32[784,11]"),
            "line 12: matmul in line 12: the text says f32[784,11], but f32[784,10] is inferred");
  EXPECT_EQ(error_of("%1 = ", "%4 = "), "line 9: expected node %1, found %4");
  EXPECT_EQ(error_of("update dense/b", "update dense/w"),
            "line 16: update of 'dense/w': the variable is f32[784,10], the value f32[10]");
  EXPECT_EQ(error_of("update dense/b <- %6", "update dense/w <- %4"),
            "line 16: update of 'dense/w': it has an update already");
  EXPECT_EQ(error_of("update dense/b", "update q"), "line 16: there is no variable 'q'");
  EXPECT_EQ(error_of("rest=", "first="), "line 17: train: two results are named 'first'");
  EXPECT_EQ(error_of("he_normal", "he"), "line 3: unknown value 'he'");
  EXPECT_EQ(error_of("f32[784,10]", "f32[n,10]"),
            "line 3: variable 'dense/w': the shape of f32[n,10] is not known (symbols are for "
            "arguments)");
  EXPECT_EQ(error_of("variable step", "variable dense/w"),
            "line 5: module 'linear_relu': the name 'dense/w' is taken");
  EXPECT_EQ(error_of("t: f32", "x: f32"), "line 7: train: the name 'x' is taken");
  EXPECT_EQ(error_of("function empty", "function train"),
            "line 19: there is a function 'train' already");
  EXPECT_EQ(error_of("  function empty() {\n  }\n}\n", ""),
            "line 19: expected 'function', found the end");
  EXPECT_EQ(error_of("relu(%1) : f32[batch,10]", "constant() {value=f32[3]{1,2}} : f32[3]"),
            "line 10: a literal of type f32[3] does not fit 8 bytes");
}

TEST(Parser, AFailedFunctionLeavesTheModuleAsItWas) {
  Module module("m");
  EXPECT_THROW(parse_function("function f() { } }", module, test_ops::test_ops()), GraphError);
  EXPECT_THROW(parse_function("function f() { return x=x }", module, test_ops::test_ops()),
               GraphError);
  EXPECT_TRUE(module.functions().empty());
}

TEST(Parser, DeepNestingIsRefused) {
  std::string text = "function f() {\n";
  for (int i = 0; i < 100000; ++i) text += "%0 = region() : f32[] { block() {";
  Module module("m");
  try {
    parse_function(text, module, test_ops::test_ops());
    FAIL();
  } catch (const GraphError& error) {
    EXPECT_STREQ(error.what(), "line 2: blocks are nested too deeply");
  }
  EXPECT_THROW(parse_function("function f(x: f32[" + std::string(1000000, '('), module,
                              test_ops::test_ops()),
               GraphError);
  EXPECT_THROW(parse_function("function f(x: f32[" + std::string(1000000, '(') + "]) {}", module,
                              test_ops::test_ops()),
               GraphError);
}

// Whatever the text holds: a module that verifies and prints stably, or a GraphError.
TEST(Parser, SurvivesDamagedText) {
  const std::string alphabet = "%@{}()[],:=.\"\\ \n0129aefx-+*/#<";
  std::mt19937 random(7);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = round % 2 ? kRich : kLinear;
    const int edits = 1 + random() % 3;
    for (int i = 0; i < edits; ++i) {
      const size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = alphabet[random() % alphabet.size()];
          break;
        case 1:
          text.erase(at, 1 + random() % 8);
          break;
        case 2:
          text.insert(at, 1, alphabet[random() % alphabet.size()]);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), random() % 20));
      }
    }
    try {
      const auto module = parse_module(text, test_ops::test_ops());
      verify(*module);
      const std::string printed = to_text(*module);
      ASSERT_EQ(round_trip(printed, TextMode::full), printed);
      ++accepted;
    } catch (const GraphError&) {
    }
  }
  EXPECT_GT(accepted, 100);
  for (size_t length = 0; length < sizeof kRich - 2; ++length) {
    EXPECT_THROW(parse_module(std::string(kRich).substr(0, length), test_ops::test_ops()),
                 GraphError);
  }
}

}  // namespace
}  // namespace adjoint
