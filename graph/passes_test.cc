// Passes: text in, text out; the pipeline that runs them.
#include "graph/passes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/parser.h"
#include "graph/printer.h"
#include "graph/test_ops.h"
#include "graph/verifier.h"

namespace adjoint {
namespace {

using namespace test_ops;
using testing::ElementsAre;

// Runs the pass on the function in `text` and prints the result; "unchanged" where there is none.
std::string run_pass(const Pass& pass, const std::string& text) {
  Module module("m");
  module.variable("w", {DType::f32, {2}});
  module.variable("v", {DType::f32, {2}});
  module.resource("r", {DType::f32, {Dim::symbol("n")}});
  const Function& function = parse_function(text, module, test_ops::test_ops());
  std::optional<Rewritten> result = pass.run(function);
  if (!result) return "unchanged";
  verify(*result->function);
  EXPECT_EQ(to_text(function, TextMode::structural), text) << "the pass changed its input";
  return to_text(*result->function, TextMode::structural);
}

TEST(Dce, DropsWhatNothingNeeds) {
  EXPECT_EQ(run_pass(dce_pass(), R"(function f(x: f32[2], unused: f32[3]) {
  %0 = neg(x) : f32[2]
  %1 = relu(w) : f32[2]
  %2 = split(%0) {sizes=[1,1]} : f32[1], f32[1]
  %3 = neg(%0) : f32[2]
  %4 = neg(r) : f32[n]
  %5 = add(%3, v) : f32[2]
  update w <- %3
  return y=%2.1
}
)"),
            R"(function f(x: f32[2], unused: f32[3]) {
  %0 = neg(x) : f32[2]
  %1 = split(%0) {sizes=[1,1]} : f32[1], f32[1]
  %2 = neg(%0) : f32[2]
  update w <- %2
  return y=%1.1
}
)");
}

TEST(Dce, DropsLeavesThatNothingReads) {
  Module module("m");
  const Variable& w = module.variable("w", {DType::f32, {2}});
  Function& f = module.function("f");
  f.read(w);
  const auto result = dce_pass().run(f);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->function->size(), 0u);
  EXPECT_FALSE(result->values.has({0, 0}));
  EXPECT_FALSE(dce_pass().run(*result->function));
}

TEST(Dce, WorksInsideNestedBlocks) {
  EXPECT_EQ(run_pass(dce_pass(), R"(function f(x: f32[2]) {
  %0 = region(x) : f32[2] {
    block(a: f32[2]) {
      %0 = neg(a) : f32[2]
      %1 = region(a) : f32[2] {
        block(b: f32[2]) {
          %0 = neg(b) : f32[2]
          return y=b
        }
      }
      return y=%1
    }
  }
  return y=%0
}
)"),
            R"(function f(x: f32[2]) {
  %0 = region(x) : f32[2] {
    block(a: f32[2]) {
      %0 = region(a) : f32[2] {
        block(b: f32[2]) {
          return y=b
        }
      }
      return y=%0
    }
  }
  return y=%0
}
)");
}

TEST(Cse, MergesEqualNodes) {
  EXPECT_EQ(run_pass(cse_pass(), R"(function f(x: f32[2], y: f32[2]) {
  %0 = add(x, y) : f32[2]
  %1 = add(y, x) : f32[2]
  %2 = sub(x, y) : f32[2]
  %3 = sub(y, x) : f32[2]
  %4 = neg(%0) : f32[2]
  %5 = neg(%1) : f32[2]
  %6 = split(%4) {sizes=[1,1]} : f32[1], f32[1]
  %7 = split(%5) {sizes=[1,1]} : f32[1], f32[1]
  %8 = split(%5) {sizes=[2,0]} : f32[2], f32[0]
  return a=%6.0, b=%7.1, c=%8.0, d=%2, e=%3
}
)"),
            R"(function f(x: f32[2], y: f32[2]) {
  %0 = add(x, y) : f32[2]
  %1 = sub(x, y) : f32[2]
  %2 = sub(y, x) : f32[2]
  %3 = neg(%0) : f32[2]
  %4 = split(%3) {sizes=[1,1]} : f32[1], f32[1]
  %5 = split(%3) {sizes=[2,0]} : f32[2], f32[0]
  return a=%4.0, b=%4.1, c=%5.0, d=%1, e=%2
}
)");
}

TEST(Cse, ComparesConstantsAndAttributesByBits) {
  const std::string text = R"(function f(x: f32[]) {
  %0 = constant() {value=f32[]{0}} : f32[]
  %1 = constant() {value=f32[]{-0}} : f32[]
  %2 = constant() {value=f64[]{0}} : f64[]
  %3 = constant() {value=f32[]{nan}} : f32[]
  %4 = every@2(x) {real=0} : f32[]
  %5 = every@2(x) {real=-0} : f32[]
  %6 = every@2(x) {real=nan} : f32[]
)";
  EXPECT_EQ(run_pass(cse_pass(), text + "}\n"), "unchanged");
  EXPECT_EQ(run_pass(cse_pass(), text + R"(  %7 = constant() {value=f32[]{nan}} : f32[]
  %8 = every@2(x) {real=nan} : f32[]
}
)"),
            text + "}\n");
}

TEST(Cse, MergesEqualNestedBlocks) {
  const std::string region = R"( = region(x) : f32[2] {
    block(a: f32[2]) {
      %0 = neg(a) : f32[2]
      return y=%0
    }
  }
)";
  const std::string other = R"( = region(x) : f32[2] {
    block(a: f32[2]) {
      %0 = relu(a) : f32[2]
      return y=%0
    }
  }
)";
  EXPECT_EQ(run_pass(cse_pass(), "function f(x: f32[2]) {\n  %0" + region + "  %1" + other +
                                     "  %2" + region + "}\n"),
            "function f(x: f32[2]) {\n  %0" + region + "  %1" + other + "}\n");
}

TEST(Cse, WorksInsideNestedBlocks) {
  EXPECT_EQ(run_pass(cse_pass(), R"(function f(x: f32[2]) {
  %0 = region(x) : f32[2] {
    block(a: f32[2]) {
      %0 = neg(a) : f32[2]
      %1 = neg(a) : f32[2]
      %2 = add(%0, %1) : f32[2]
      return y=%2
    }
  }
  return y=%0
}
)"),
            R"(function f(x: f32[2]) {
  %0 = region(x) : f32[2] {
    block(a: f32[2]) {
      %0 = neg(a) : f32[2]
      %1 = add(%0, %0) : f32[2]
      return y=%1
    }
  }
  return y=%0
}
)");
}

TEST(Cse, JoinsOrigins) {
  Module module("m");
  const Function& f = parse_function(R"(function f(x: f32[2]) {
  %0 = neg(x) : f32[2] @at("a.cc":1)
  %1 = neg(x) : f32[2] @at("a.cc":2)
  %2 = neg(x) : f32[2] @at("a.cc":1)
  %3 = neg(x) : f32[2] @from(%0, rule=neg)
})",
                                     module, test_ops::test_ops());
  const auto result = cse_pass().run(f);
  ASSERT_TRUE(result);
  EXPECT_EQ(to_text(result->function->node(1).origin),
            R"( @at("a.cc":1) @at("a.cc":2) @from(%0, rule=neg))");
  for (int32_t node = 1; node < 5; ++node) {
    EXPECT_EQ((result->values[{node, 0}]), (ValueId{1, 0}));
  }
}

// Knows neg and split of f32 alone.
std::optional<std::vector<Literal>> evaluate(const Node& node, std::span<const Literal> operands) {
  if (node.op == &kNeg) {
    std::vector<float> values;
    for (int64_t i = 0; i < operands[0].element_count(); ++i) values.push_back(-operands[0].at(i));
    return {{Literal::of(operands[0].dims(), values)}};
  }
  if (node.op == &kSplit) {
    return {{Literal::of<float>({1}, {static_cast<float>(operands[0].at(0))}),
             Literal::of<float>({1}, {static_cast<float>(operands[0].at(1))})}};
  }
  if (node.op == &kRelu) return {{Literal::scalar(DType::f64, 0)}};  // wrong
  return std::nullopt;
}

TEST(Fold, ComputesConstants) {
  EXPECT_EQ(run_pass(fold_pass(evaluate), R"(function f(x: f32[2]) {
  %0 = constant() {value=f32[2]{1,-2.5}} : f32[2]
  %1 = neg(%0) : f32[2]
  %2 = split(%1) {sizes=[1,1]} : f32[1], f32[1]
  %3 = neg(%2.1) : f32[1]
  %4 = add(%0, %0) : f32[2]
  %5 = neg(x) : f32[2]
  return a=%3, b=%4, c=%5
}
)"),
            R"(function f(x: f32[2]) {
  %0 = constant() {value=f32[2]{1,-2.5}} : f32[2]
  %1 = constant() {value=f32[2]{-1,2.5}} : f32[2]
  %2 = constant() {value=f32[1]{-1}} : f32[1]
  %3 = constant() {value=f32[1]{2.5}} : f32[1]
  %4 = constant() {value=f32[1]{-2.5}} : f32[1]
  %5 = add(%0, %0) : f32[2]
  %6 = neg(x) : f32[2]
  return a=%4, b=%5, c=%6
}
)");
}

TEST(Fold, LeavesLargeResultsAlone) {
  const std::string text = R"(function f() {
  %0 = constant() {value=f32[2]{1,2}} : f32[2]
  %1 = neg(%0) : f32[2]
  return y=%1
}
)";
  EXPECT_EQ(run_pass(fold_pass(evaluate, {.max_elements = 1}), text), "unchanged");
  EXPECT_NE(run_pass(fold_pass(evaluate, {.max_elements = 2}), text), "unchanged");
}

TEST(Fold, ChecksTheEvaluator) {
  try {
    run_pass(fold_pass(evaluate), R"(function f() {
  %0 = constant() {value=f32[]{1}} : f32[]
  %1 = relu(%0) : f32[] @at("a.cc":5)
}
)");
    FAIL();
  } catch (const GraphError& error) {
    EXPECT_STREQ(error.what(), "relu: a rewriting replaces f32[] by f64[]\n  built at a.cc:5");
  }
}

TEST(Specialise, PutsNumbersForSymbols) {
  Module module("m");
  module.resource("r", {DType::f32, {Dim::symbol("n"), 2}});
  const Function& f = parse_function(R"(function f(x: f32[batch,4], y: f32[rows]) {
  %0 = reshape(x) {shape=[4*batch]} : f32[4*batch]
  %1 = split(r) {sizes=[n-batch,batch]} : f32[n-batch,2], f32[batch,2]
  %2 = region(%0) : f32[(batch//3)] {
    block(a: f32[4*batch]) {
      %0 = split(a) {sizes=[(batch//3)]} : f32[(batch//3)]
      return y=%0
    }
  }
  return y=%2, z=%1.0, w=y
}
)",
                                     module, test_ops::test_ops());
  const auto specialised = specialise(f, {{"batch", 96}, {"n", 60000}, {"other", 1}});
  verify(*specialised);
  EXPECT_EQ(to_text(*specialised, TextMode::structural),
            R"(function f(x: f32[96,4], y: f32[rows]) {
  read r : f32[60000,2]
  %0 = reshape(x) {shape=[384]} : f32[384]
  %1 = split(r) {sizes=[59904,96]} : f32[59904,2], f32[96,2]
  %2 = region(%0) : f32[32] {
    block(a: f32[384]) {
      %0 = split(a) {sizes=[32]} : f32[32]
      return y=%0
    }
  }
  return y=%2, z=%1.0, w=y
}
)");
  for (int32_t i = 0; i < static_cast<int32_t>(f.size()); ++i) {
    EXPECT_EQ(specialised->node(i).op, f.node(i).op);
    EXPECT_EQ(specialised->node(i).origin, f.node(i).origin);
  }
}

TEST(Specialise, NamesTheBindingsInErrors) {
  Module module("m");
  const Function& f =
      parse_function("function f(x: f32[n]) { %0 = split(x) {sizes=[n-2]} @at(\"a.cc\":7) }",
                     module, test_ops::test_ops());
  try {
    specialise(f, {{"n", 1}});
    FAIL();
  } catch (const GraphError& error) {
    EXPECT_STREQ(error.what(), "'f' with n=1: negative dimension -1");
  }
}

// neg(neg(x)) = x, and relu(x) = neg(neg(x)) to have something built.
std::vector<Value> double_neg(const RewriteSite& site) {
  if (site.node.op == &kRelu) return {neg(neg(site.operands[0]))};
  if (site.node.op != &kNeg) return {};
  const Node& inner = site.operands[0].node();
  if (inner.op != &kNeg) return {};
  return {site.block.value(inner.operands[0])};
}

TEST(Rewrite, HooksReplaceNodes) {
  const Pass pass{"double_neg", [](const Function& f) { return rewrite(f, double_neg); }};
  EXPECT_EQ(run_pass(pass, R"(function f(x: f32[2]) {
  %0 = neg(x) : f32[2]
  %1 = neg(%0) : f32[2]
  %2 = neg(%1) : f32[2]
  %3 = neg(%2) : f32[2]
  %4 = add(%3, %2) : f32[2]
  return y=%4
}
)"),
            R"(function f(x: f32[2]) {
  %0 = neg(x) : f32[2]
  %1 = neg(x) : f32[2]
  %2 = add(x, %1) : f32[2]
  return y=%2
}
)");
}

TEST(Rewrite, NewNodesCarryTheOriginOfTheOldOne) {
  Module module("m");
  const Function& f = parse_function(R"(function f(x: f32[2]) {
  %0 = relu(x) : f32[2] @from(%7, rule=relu, at="a.cc":3) @at("b.cc":4)
})",
                                     module, test_ops::test_ops());
  const auto result = rewrite(f, double_neg);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->function->line_count(), 2);
  EXPECT_EQ(result->function->node(1).origin, f.node(1).origin);
  EXPECT_EQ(result->function->node(2).origin, f.node(1).origin);
}

TEST(Rewriter, RefusesValuesThatWereDropped) {
  Module module("m");
  const Function& f =
      parse_function("function f(x: f32[2]) { %0 = neg(x) @at(\"a.cc\":1) %1 = neg(%0) }", module,
                     test_ops::test_ops());
  Function fresh(module, "f");
  Rewriter rewriter(f, fresh);
  rewriter.keep(0);
  EXPECT_FALSE(rewriter.has({1, 0}));
  try {
    rewriter.keep(2);
    FAIL();
  } catch (const GraphError& error) {
    EXPECT_STREQ(error.what(), "a value of neg was dropped but is used\n  built at a.cc:1");
  }
}

Pass named(const std::string& name) {
  return {name, [](const Function&) { return std::optional<Rewritten>(); }};
}

class PipelineTest : public testing::Test {
 protected:
  Module module_{"m"};
  const Function& function_ = parse_function(R"(function f(x: f32[2]) {
  %0 = relu(x) : f32[2]
  %1 = relu(x) : f32[2]
  %2 = add(%0, %1) : f32[2]
  return y=%2
}
)",
                                             module_, test_ops::test_ops());
  const Pass double_neg_{"double_neg", [](const Function& f) { return rewrite(f, double_neg); }};
};

TEST_F(PipelineTest, RunsPassesUntilNothingChanges) {
  Pipeline pipeline;
  pipeline.repeat({cse_pass(), double_neg_, dce_pass()}, 5);
  const Pipeline::Result result = pipeline.run(function_);
  EXPECT_EQ(to_text(*result.function, TextMode::structural), R"(function f(x: f32[2]) {
  %0 = add(x, x) : f32[2]
  return y=%0
}
)");
  std::vector<std::string> runs;
  for (const PassRun& run : result.runs) {
    runs.push_back(run.pass + (run.changed ? "+ " : " ") + std::to_string(run.nodes_before) + " " +
                   std::to_string(run.nodes_after));
  }
  EXPECT_THAT(runs,
              ElementsAre("cse+ 3 2", "double_neg+ 2 3", "dce 3 3", "cse 3 3", "double_neg+ 3 2",
                          "dce+ 2 1", "cse 1 1", "double_neg 1 1", "dce 1 1"));
  // The map leads from the first function to the last.
  EXPECT_EQ((result.values[{0, 0}]), (ValueId{0, 0}));
  EXPECT_EQ((result.values[{1, 0}]), (ValueId{0, 0}));
  EXPECT_EQ((result.values[{2, 0}]), (ValueId{0, 0}));
  EXPECT_EQ((result.values[{3, 0}]), (ValueId{1, 0}));
}

TEST_F(PipelineTest, PassesGoOffAndOnByName) {
  Pipeline pipeline;
  pipeline.add(named("first")).add(cse_pass()).add(dce_pass());
  EXPECT_THAT(pipeline.names(), ElementsAre("first", "cse", "dce"));
  pipeline.set("cse", false);
  EXPECT_FALSE(pipeline.is_on("cse"));
  EXPECT_TRUE(pipeline.is_on("dce"));
  const Pipeline::Result result = pipeline.run(function_);
  EXPECT_EQ(result.runs.size(), 2u);
  EXPECT_EQ(to_text(*result.function), to_text(function_));
  EXPECT_NE(result.function.get(), &function_);
  EXPECT_TRUE(result.values.has({3, 0}));
  pipeline.set("cse", true);
  EXPECT_EQ(pipeline.run(function_).function->line_count(), 2);
  EXPECT_THROW(pipeline.add(named("cse")), GraphError);
  EXPECT_THROW(pipeline.repeat({named("twice"), named("twice")}, 1), GraphError);
  try {
    pipeline.set("csee", true);
    FAIL();
  } catch (const GraphError& error) {
    EXPECT_STREQ(error.what(), "there is no pass 'csee' (there are first, cse, dce)");
  }
}

TEST_F(PipelineTest, ErrorsNameThePass) {
  Pipeline pipeline;
  pipeline.add(dce_pass()).add({"breaks", [](const Function& f) {
                                  Rewritten copy = copy_function(f);
                                  const_cast<Node&>(copy.function->node(1)).types[0].dtype =
                                      DType::f64;
                                  return std::optional<Rewritten>(std::move(copy));
                                }});
  try {
    pipeline.run(function_);
    FAIL();
  } catch (const GraphError& error) {
    EXPECT_STREQ(error.what(),
                 "pass 'breaks' on 'f': verify 'f': %0 relu: its type is f64[2], but f32[2] is "
                 "inferred");
  }
}

}  // namespace
}  // namespace adjoint
