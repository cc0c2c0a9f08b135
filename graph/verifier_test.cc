// Each fault is planted behind the back of the builders, which would refuse it.
#include "graph/verifier.h"

#include <gtest/gtest.h>

#include "graph/parser.h"
#include "graph/test_ops.h"

namespace adjoint {
namespace {

using namespace test_ops;

constexpr char kText[] = R"(adjoint 1
module "m" {
  variable w : f32[2] = zeros
  resource r : f32[n]
  function f(x: f32[2], y: f32[2]) {
    %0 = add(x, w) : f32[2] @at("a.cc":1)
    %1 = neg(r) : f32[n] @at("a.cc":2)
    %2 = region(%0) : f32[2] @at("a.cc":3) {
      block(a: f32[2]) {
        %0 = neg(a) : f32[2] @at("a.cc":4)
        return y=%0
      }
    }
    update w <- %2
    return out=%2
  }
}
)";

class VerifierTest : public testing::Test {
 protected:
  Node& node(int32_t number) {
    for (int32_t i = 0; i < static_cast<int32_t>(function_.size()); ++i) {
      if (function_.node(i).number == number) return const_cast<Node&>(function_.node(i));
    }
    throw GraphError("no such node");
  }
  Node& leaf(const std::string& name) {
    return const_cast<Node&>(function_.find_leaf(name).node());
  }
  Node& nested() { return const_cast<Node&>(node(2).blocks[0]->node(1)); }
  std::string error() const {
    try {
      verify(*module_);
    } catch (const GraphError& error) {
      return error.what();
    }
    return "no error";
  }

  std::unique_ptr<Module> module_ = parse_module(kText, test_ops::test_ops());
  Function& function_ = *module_->functions()[0];
};

TEST_F(VerifierTest, AcceptsWhatTheBuildersBuilt) {
  EXPECT_EQ(error(), "no error");
  verify(*node(2).blocks[0]);
}

TEST_F(VerifierTest, Types) {
  node(0).types[0] = {DType::f32, {3}};
  EXPECT_EQ(error(),
            "verify 'f': %0 add: its type is f32[3], but f32[2] is inferred\n  built at a.cc:1");
  node(0).types.clear();
  EXPECT_EQ(error(),
            "verify 'f': %0 add: its type is nothing, but f32[2] is inferred\n  built at a.cc:1");
}

TEST_F(VerifierTest, Operands) {
  const int32_t self = node(0).operands[1].node + 1;
  node(0).operands[0] = {self, 0};
  EXPECT_EQ(error(),
            "verify 'f': %0 add: it uses a value that is not built before it\n  built at a.cc:1");
  node(0).operands[0] = {0, 1};
  EXPECT_EQ(error(),
            "verify 'f': %0 add: it uses output 1 of argument, which has none\n  built at a.cc:1");
  node(0).operands[0] = {-1, 0};
  EXPECT_EQ(error(),
            "verify 'f': %0 add: it uses a value that is not built before it\n  built at a.cc:1");
  node(0).operands.pop_back();
  node(0).operands[0] = {0, 0};
  EXPECT_EQ(error(), "verify 'f': %0 add: takes 2 operands, not 1\n  built at a.cc:1");
}

TEST_F(VerifierTest, OpAttributesNumberOrigin) {
  Node& neg = node(1);
  neg.attributes = ShapeAttributes{};
  EXPECT_EQ(error(),
            "verify 'f': %1 neg: the attributes are not those of this op\n  built at a.cc:2");
  neg.attributes = {};
  neg.origin = nullptr;
  EXPECT_EQ(error(), "verify 'f': %1 neg: it has no origin");
  neg.origin = node(0).origin;
  neg.number = 7;
  EXPECT_EQ(error(), "verify 'f': %7 neg: its number should be 1\n  built at a.cc:1");
  neg.op = nullptr;
  EXPECT_EQ(error(), "verify 'f': %7 node without an op: it has no op\n  built at a.cc:1");
}

TEST_F(VerifierTest, NestedBlocks) {
  nested().types[0] = {DType::f64, {2}};
  EXPECT_EQ(error(),
            "verify 'f': %2 region: in its block 0: %0 neg: its type is f64[2], but f32[2] is "
            "inferred\n  built at a.cc:4\n  built at a.cc:3");
  nested().types[0] = {DType::f32, {2}};
  EXPECT_EQ(error(), "no error");

  auto open = std::make_shared<Block>("open");
  Value a = open->argument("a", {DType::f32, {2}});
  open->leaf(kVariable, "w", {DType::f32, {2}}, node(0).origin);
  open->result("y", a);
  node(2).blocks = {open};
  EXPECT_EQ(error(),
            "verify 'f': %2 region: in its block 0: variable: 'w' is read inside a nested block, "
            "which is not closed\n  built at a.cc:1\n  built at a.cc:3");
  node(2).blocks = {nullptr};
  EXPECT_EQ(error(), "verify 'f': %2 region: in its block 0: it is missing\n  built at a.cc:3");
  node(2).blocks = {};
  EXPECT_EQ(error(), "verify 'f': %2 region: it owns one block\n  built at a.cc:3");
  node(1).blocks = {open};
  EXPECT_EQ(error(), "verify 'f': %1 neg: this op owns no blocks\n  built at a.cc:2");
}

TEST_F(VerifierTest, Leaves) {
  auto rename = [&](Node& node, const char* name, Type type) {
    node.attributes = LeafAttributes{name, type};
    node.types = {type};
  };
  rename(leaf("w"), "q", {DType::f32, {2}});
  EXPECT_EQ(error(), "verify 'f': variable: 'q' is not declared in module 'm'");
  rename(leaf("w"), "x", {DType::f32, {2}});
  EXPECT_EQ(error(), "verify 'f': variable: another leaf is named 'x'");
  rename(leaf("w"), "w", {DType::f64, {2}});
  EXPECT_EQ(error(), "verify 'f': variable: 'w' is declared as f32[2], not f64[2]");
  rename(leaf("w"), "w", {DType::f32, {2}});
  rename(leaf("r"), "r", {DType::f32, {Dim::symbol("n"), 1}});
  EXPECT_EQ(error(), "verify 'f': resource: 'r' is declared as f32[n], not f32[n,1]");
  rename(leaf("r"), "r", {DType::f32, {Dim::symbol("n")}});
  auto& arguments = const_cast<std::vector<ValueId>&>(function_.arguments());
  std::swap(arguments[0], arguments[1]);
  EXPECT_EQ(error(), "verify 'f': argument: 'x' is not listed as an argument");
  std::swap(arguments[0], arguments[1]);
  arguments.push_back({2, 0});
  EXPECT_EQ(error(), "verify 'f': an argument is listed without its node");
}

TEST_F(VerifierTest, ResultsAndUpdates) {
  auto& results = const_cast<std::vector<Block::Result>&>(function_.results());
  results.push_back(results[0]);
  EXPECT_EQ(error(), "verify 'f': result 'out': another result has this name");
  results[1] = {"other", {99, 0}};
  EXPECT_EQ(error(), "verify 'f': result 'other': it uses a value that is not built before it");
  results.pop_back();
  auto& updates = const_cast<std::vector<Update>&>(function_.updates());
  updates.push_back(updates[0]);
  EXPECT_EQ(error(), "verify 'f': update of 'w': there is another update");
  updates[1].variable = "q";
  EXPECT_EQ(error(), "verify 'f': update of 'q': there is no such variable");
  updates.pop_back();
  updates[0].value = function_.find_leaf("r").id();
  EXPECT_EQ(error(), "verify 'f': update of 'w': the variable is f32[2], the value f32[n]");
  updates[0].value = {0, 5};
  EXPECT_EQ(error(), "verify 'f': update of 'w': it is no value of the function");
}

}  // namespace
}  // namespace adjoint
