// Building: what is checked, what the errors say, and where nodes say they came from.
#include "graph/module.h"

#include <gtest/gtest.h>

#include "graph/printer.h"
#include "graph/test_ops.h"

namespace adjoint {
namespace {

using namespace test_ops;

template <typename F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const GraphError& error) {
    return error.what();
  }
  return "no error";
}

const Type kVector{DType::f32, {2}};

class BuildTest : public testing::Test {
 protected:
  Module module_{"m"};
  Function& f_ = module_.function("f");
  Value x_ = f_.argument("x", {DType::f32, {Dim::symbol("batch"), 784}});
};

TEST_F(BuildTest, ErrorsNameOpShapesAndTheUsersLine) {
  const Value w = f_.argument("w", {DType::f32, {512, 10}});
  const size_t size = f_.size();
#line 24 "examples/mnist/model.cc"
  EXPECT_EQ(error_of([&] { matmul(x_, w); }),
            "matmul: inner dimensions differ: f32[batch,784] x f32[512,10] (784 and 512)\n"
            "  built at examples/mnist/model.cc:24");
#line 1 "a.cc"
  EXPECT_EQ(error_of([&] { add(x_, w); }),
            "add: shapes do not broadcast: [batch,784] and [512,10] (784 and 10)\n"
            "  built at a.cc:1");
#line 2 "a.cc"
  EXPECT_EQ(error_of([&] { f_.add(kAdd, {{x_}}, {}, std::source_location::current()); }),
            "add: takes 2 operands, not 1\n  built at a.cc:2");
#line 3 "a.cc"
  EXPECT_EQ(error_of([&] {
              f_.add(kMatmul, {{x_, w}}, {}, std::source_location::current());
            }).substr(0, 56),
            "matmul: the attributes are not those of this op\n  built ");
  EXPECT_EQ(f_.size(), size) << "a refused node stays out";
  EXPECT_EQ(f_.line_count(), 0);
  EXPECT_EQ(neg(x_).node().number, 0);
}

TEST_F(BuildTest, RefusesValuesOfOtherBlocks) {
  Function& other = module_.function("g");
  const Value y = other.argument("y", kVector);
#line 5 "a.cc"
  EXPECT_EQ(error_of([&] { add(x_, y); }),
            "add: operand 1 belongs to 'g', not to 'f'\n  built at a.cc:5");
#line 6 "a.cc"
  EXPECT_EQ(error_of([&] { add(x_, Value()); }),
            "add: operand 1 is an empty value\n  built at a.cc:6");
  EXPECT_EQ(error_of([&] { f_.result("y", y); }), "f: the result 'y' is not a value of this block");
  EXPECT_EQ(error_of([&] { f_.result("y", Value()); }),
            "f: the result 'y' is not a value of this block");
  EXPECT_EQ(error_of([&] {
              f_.add_with_origin(kNeg, {{7, 0}}, {}, x_.node().origin);
            }).substr(0, 32),
            "neg: an operand is no value of '");
  EXPECT_EQ(error_of([&] {
              f_.add_with_origin(kNeg, {{0, 1}}, {}, x_.node().origin);
            }).substr(0, 32),
            "neg: an operand is no value of '");
}

TEST_F(BuildTest, ArityTexts) {
  auto text = [](int least, int most, size_t count) {
    OpDef op = kNeg;
    op.min_operands = least;
    op.max_operands = most;
    return error_of([&] { check_call(op, count, {}); });
  };
  EXPECT_EQ(text(1, 1, 0), "takes 1 operand, not 0");
  EXPECT_EQ(text(1, 3, 4), "takes 1 to 3 operands, not 4");
  EXPECT_EQ(text(2, kAnyNumber, 1), "takes 2 operands or more, not 1");
  EXPECT_EQ(text(2, kAnyNumber, 100), "no error");
}

TEST_F(BuildTest, NamesAreUniquePaths) {
#line 9 "a.cc"
  EXPECT_EQ(error_of([&] { f_.argument("x", kVector); }),
            "f: the name 'x' is taken\n  built at a.cc:9");
  for (const char* name : {"", "/", "a/", "/a", "a//b", "a b", "a=b", "%1", "a\n"}) {
    const std::string wanted = "'" + std::string(name) + "' is not a name";
    EXPECT_EQ(error_of([&] { f_.argument(name, kVector); }), wanted);
    EXPECT_EQ(error_of([&] { f_.result(name, x_); }), wanted);
    EXPECT_EQ(error_of([&] { module_.variable(name, kVector); }), wanted);
    EXPECT_EQ(error_of([&] { module_.resource(name, kVector); }), wanted);
    EXPECT_EQ(error_of([&] { module_.function(name); }), wanted);
  }
  f_.result("a/b.0_c", x_);
  EXPECT_EQ(error_of([&] { f_.result("a/b.0_c", x_); }), "f: two results are named 'a/b.0_c'");
}

TEST_F(BuildTest, Variables) {
  const Variable& w = module_.variable("dense/w", kVector, {Init::he_normal});
  EXPECT_EQ(f_.read(w), f_.read(w)) << "one leaf for each variable";
  EXPECT_EQ(f_.find_leaf("dense/w"), f_.read(w));
  EXPECT_EQ(error_of([&] { module_.variable("dense/w", kVector); }),
            "module 'm': the name 'dense/w' is taken");
  EXPECT_EQ(error_of([&] { module_.resource("dense/w", kVector); }),
            "module 'm': the name 'dense/w' is taken");
  EXPECT_EQ(error_of([&] {
              module_.variable("v", {DType::f32, {Dim::symbol("n")}});
            }),
            "variable 'v': the shape of f32[n] is not known (symbols are for arguments)");
  Module other("other");
  const Variable& v = other.variable("v", kVector);
#line 11 "a.cc"
  EXPECT_EQ(error_of([&] { f_.read(v); }),
            "f: 'v' is no variable of module 'm'\n  built at a.cc:11");
#line 12 "a.cc"
  EXPECT_EQ(error_of([&] { f_.update(v, f_.read(w)); }),
            "update of 'v': the variable or the value is not of 'f'\n  built at a.cc:12");
#line 13 "a.cc"
  EXPECT_EQ(error_of([&] { f_.update(w, x_); }),
            "update of 'dense/w': the variable is f32[2], the value f32[batch,784]\n"
            "  built at a.cc:13");
  f_.update(w, neg(f_.read(w)));
#line 14 "a.cc"
  EXPECT_EQ(error_of([&] { f_.update(w, f_.read(w)); }),
            "update of 'dense/w': it has an update already\n  built at a.cc:14");
  EXPECT_EQ(f_.updates().size(), 1u);
  EXPECT_EQ(module_.find_variable("dense/w"), &w);
  EXPECT_EQ(module_.find_variable("dense"), nullptr);
}

TEST_F(BuildTest, Functions) {
  EXPECT_EQ(error_of([&] { module_.function("f"); }),
            "module 'm': there is a function 'f' already");
  module_.function("g");
  EXPECT_EQ(error_of([&] { module_.get_function("h"); }),
            "module 'm' has no function 'h' (it has f, g)");
  auto fresh = std::make_unique<Function>(module_, "f");
  Function* pointer = fresh.get();
  module_.replace(std::move(fresh));
  EXPECT_EQ(module_.find_function("f"), pointer);
  EXPECT_EQ(module_.functions().size(), 2u);
  EXPECT_EQ(module_.functions()[0].get(), pointer);
}

TEST_F(BuildTest, NestingIsBounded) {
  auto block = std::make_shared<Block>("b");
  block->result("y", constant(*block, Literal()));
  auto wrap = [&] {
    auto outer = std::make_shared<Block>("b");
    const Origin origin = block->node(0).origin;
    outer->result("y", outer->add_with_origin(kRegion, {}, {}, origin, {block}));
    block = outer;
  };
  for (int depth = 1; depth < kMaxNesting; ++depth) wrap();
  EXPECT_EQ(block->depth(), kMaxNesting);
  EXPECT_EQ(error_of(wrap).substr(0, 38), "region: blocks are nested too deeply\n ");
}

TEST(Initializer, TextParsesBack) {
  for (const char* text : {"zeros", "ones", "constant(3)", "normal(0,0.5)", "uniform(-1,1)",
                           "he_normal", "he_uniform", "glorot_normal", "glorot_uniform"}) {
    EXPECT_EQ(to_text(parse_initializer(text)), text);
  }
  for (const char* text : {"", "zero", "zeros(1)", "normal", "normal(", "normal(1", "normal(a,b)",
                           "constant()", "constant(1,)"}) {
    EXPECT_THROW(parse_initializer(text), GraphError) << text;
  }
}

TEST(OpSet, FindsAndSuggests) {
  OpSet ops = test_ops::test_ops();
  EXPECT_EQ(&ops.get("neg"), &kNeg);
  EXPECT_EQ(ops.find("nop"), nullptr);
  EXPECT_EQ(error_of([&] { ops.get("matmull"); }), "unknown op 'matmull'; did you mean 'matmul'?");
  EXPECT_EQ(error_of([&] { ops.get("convolution"); }), "unknown op 'convolution'");
  ops.add(kNeg);
  OpDef other = kNeg;
  EXPECT_EQ(error_of([&] { ops.add(other); }), "two ops are named 'neg'");
  EXPECT_EQ(ops.all().front()->name, "add");
}

class OriginTest : public BuildTest {
 protected:
  static std::string origin(Value value) { return to_text(value.node().origin); }
};

TEST_F(OriginTest, NodesCarryTheCallersLine) {
#line 20 "model.cc"
  const Value y = relu(x_);
  const Value z = neg(add(x_, x_));
  EXPECT_EQ(origin(y), R"( @at("model.cc":20))");
  EXPECT_EQ(origin(z), R"( @at("model.cc":21))");
  EXPECT_EQ(z.node().origin, f_.value(z.node().operands[0]).node().origin) << "shared";
}

// A layer: its nodes carry its caller's line and its name.
Value layer(Located x, const std::string& name) {
  const OriginScope scope(x.value.block(), name, x.where);
  return relu(neg(x.value));
}

Value two_layers(Located x) {
  const OriginScope scope(x.value.block(), "body", x.where);
  return layer(layer(x.value, "first"), "second");
}

TEST_F(OriginTest, ScopesPinTheOutermostCallersLine) {
#line 30 "model.cc"
  const Value y = two_layers(x_);
  const Value z = neg(y);
  EXPECT_EQ(origin(y), R"( @at("model.cc":30, scope="body/second"))");
  EXPECT_EQ(origin(f_.value(y.node().operands[0])), R"( @at("model.cc":30, scope="body/second"))");
  EXPECT_EQ(origin(z), R"( @at("model.cc":31))");
}

TEST_F(OriginTest, AFailedLayerLeavesNothing) {
  const Variable& w = module_.variable("w", kVector);
  neg(x_);
  const std::string before = to_text(module_, TextMode::full);
  const size_t size = f_.size();
  auto failing_layer = [&] {
    const OriginScope scope(f_, "dense", std::source_location::current());
    const Value read = f_.read(w);
    const Value y = layer(f_.argument("more", kVector), "inner");
    f_.result("y", y);
    f_.update(w, relu(read));
    matmul(y, read);
  };
  EXPECT_NE(error_of(failing_layer), "no error");
  EXPECT_EQ(f_.size(), size);
  EXPECT_EQ(to_text(module_, TextMode::full), before);
  EXPECT_FALSE(f_.find_leaf("more"));
  EXPECT_EQ(neg(x_).node().number, 1);
  f_.update(w, f_.read(w));
}

TEST_F(OriginTest, VariablesReadInALayerCarryItsScope) {
  const Variable& w = module_.variable("w", kVector);
  Value read;
  {
#line 35 "model.cc"
    const OriginScope scope(f_, "dense", std::source_location::current());
    read = f_.read(w);
  }
  EXPECT_EQ(origin(read), R"( @at("model.cc":35, scope="dense"))");
}

TEST_F(OriginTest, GradientNodesNameTheirForwardNode) {
#line 40 "model.cc"
  const Value y = layer(x_, "dense");
  Value inner, outer;
  {
    const GradientScope scope(
        f_, y.node().origin,
        {.forward = y.node().number, .op = "relu", .rule = "relu_rule", .operand = 0, .note = ""});
    outer = neg(y);
    {
      const GradientScope second(
          f_, outer.node().origin,
          {.forward = 2, .op = "", .rule = "odd rule", .operand = -1, .note = "broadcast"});
      inner = neg(outer);
    }
    EXPECT_EQ(origin(neg(outer)), origin(outer));
  }
  EXPECT_EQ(origin(outer),
            R"( @from(%1, op=relu, rule=relu_rule, operand=0, at="model.cc":40, scope="dense"))");
  EXPECT_EQ(origin(inner),
            R"( @from(%2, rule="odd rule", note="broadcast", at="model.cc":40, scope="dense"))");
  EXPECT_EQ(origin(neg(y)).substr(0, 5), " @at(");
}

TEST_F(OriginTest, FixedOriginsWin) {
  const Value y = relu(x_);
  const OriginScope scope(f_, "dense", std::source_location::current());
  {
    const FixedOrigin fixed(f_, y.node().origin);
    EXPECT_EQ(layer(y, "inner").node().origin, y.node().origin);
  }
  EXPECT_NE(neg(y).node().origin, y.node().origin);
}

TEST(Origin, JoiningKeepsEachEntryOnce) {
  auto at = [](int64_t line) {
    return make_origin({.where = {"a.cc", line}, .scope = "", .from = nullptr});
  };
  const Origin a = at(1), b = at(2);
  const Origin both = join_origins(a, b);
  EXPECT_EQ(to_text(both), R"( @at("a.cc":1) @at("a.cc":2))");
  EXPECT_EQ(join_origins(both, b), both) << "shared where nothing is new";
  EXPECT_EQ(join_origins(a, at(1)), a);
  EXPECT_EQ(join_origins(nullptr, a), a);
  EXPECT_EQ(join_origins(a, nullptr), a);
  EXPECT_EQ(to_text(join_origins(std::vector<Origin>{b, both, at(3), a})),
            R"( @at("a.cc":2) @at("a.cc":1) @at("a.cc":3))");
  EXPECT_EQ(to_text(line_of(both)), "a.cc:1");
  EXPECT_EQ(built_at(make_origin({})), "");
  EXPECT_EQ(to_text(SourceLine{}), "an unknown line");
}

}  // namespace
}  // namespace adjoint
