#include "ops/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/builder.h"
#include "ops/test_support.h"

namespace adjoint {
namespace {

struct ElementwiseTest : testing::Test {
  Block block{"test"};
  Value x = argument(block, "x", "f32[batch,3]");
  Value h = argument(block, "h", "bf16[2]");
  Value i = argument(block, "i", "i64[2]");
  Value p = argument(block, "p", "bool[batch,1]");
};

TEST_F(ElementwiseTest, UnaryOpsKeepTheType) {
  for (auto* f : {neg,  abs,   sign,       square, exp,           expm1,       log,     log1p,
                  sqrt, rsqrt, reciprocal, sin,    cos,           tanh,        sigmoid, softplus,
                  relu, silu,  erf,        floor,  stop_gradient, check_finite}) {
    EXPECT_EQ(f(x).type(), x.type());
    EXPECT_EQ(f(h).type(), h.type());
  }
  EXPECT_EQ(leaky_relu(x).type(), x.type());
  EXPECT_EQ(elu(x).type(), x.type());
  EXPECT_EQ(gelu(x).type(), x.type());
  EXPECT_EQ(clamp(x, 0, 1).type(), x.type());
  EXPECT_EQ(to_text(cast(x, DType::i32).type()), "i32[batch,3]");
  EXPECT_EQ(to_text(is_finite(x).type()), "bool[batch,3]");
  EXPECT_EQ(logical_not(p).type(), p.type());
  EXPECT_EQ(stop_gradient(p).type(), p.type());
}

TEST_F(ElementwiseTest, IntegersHaveArithmeticOnly) {
  for (auto* f : {neg, abs, sign, square}) {
    EXPECT_EQ(f(i).type(), i.type());
    EXPECT_NE(error_of([&] { f(p); }).find("is bool[batch,1], not a number type"),
              std::string::npos);
  }
  for (auto* f : {exp, expm1, log, log1p, sqrt, rsqrt, reciprocal, sin, cos, tanh, sigmoid,
                  softplus, relu, silu, erf, floor, is_finite}) {
    EXPECT_NE(error_of([&] { f(i); }).find("operand 0 is i64[2], not a float type"),
              std::string::npos);
  }
  EXPECT_EQ(type_of([&] { return pow(i, i); }), "pow: operand 0 is i64[2], not a float type");
  EXPECT_EQ(type_of([&] { return logical_not(x); }),
            "logical_not: operand 0 is f32[batch,3], not bool");
}

TEST_F(ElementwiseTest, BinaryOpsBroadcast) {
  const Value row = argument(block, "row", "f32[3]");
  const Value column = argument(block, "column", "f32[batch,1]");
  for (auto* f : std::initializer_list<Value (*)(Located, Value)>{add, sub, mul, div, pow, maximum,
                                                                  minimum, relu_grad}) {
    EXPECT_EQ(to_text(f(column, row).type()), "f32[batch,3]");
  }
  for (auto* f : std::initializer_list<Value (*)(Located, Value)>{
           equal, not_equal, less, less_equal, greater, greater_equal}) {
    EXPECT_EQ(to_text(f(row, column).type()), "bool[batch,3]");
  }
  EXPECT_EQ(type_of([&] { return select(p, row, column); }), "f32[batch,3]");
  EXPECT_EQ(type_of([&] { return logical_xor(p, argument(block, "q", "bool[2,1,4]")); }),
            "bool[2,batch,4]");
}

TEST_F(ElementwiseTest, ErrorsNameTypesAndLine) {
  const Value four = argument(block, "four", "f32[4]");
  EXPECT_EQ(type_of([&] { return add(x, four); }),
            "add: shapes do not broadcast: f32[batch,3] and f32[4] (3 and 4)");
  EXPECT_EQ(type_of([&] { return x * h; }),
            "mul: element types differ: f32[batch,3] and bf16[2] (use cast)");
  EXPECT_EQ(type_of([&] { return select(p, x, four); }),
            "select: shapes do not broadcast: bool[batch,1] and f32[batch,3] and f32[4] (3 and 4)");
  EXPECT_EQ(type_of([&] { return select(x, x, x); }),
            "select: operand 0 is f32[batch,3], not bool");
  EXPECT_EQ(type_of([&] { return select(p, x, h); }),
            "select: element types differ: f32[batch,3] and bf16[2] (use cast)");
  EXPECT_EQ(type_of([&] { return less(p, p); }),
            "less: operand 0 is bool[batch,1], not a number type");
  EXPECT_EQ(type_of([&] { return logical_and(p, x); }),
            "logical_and: operand 1 is f32[batch,3], not bool");
  EXPECT_EQ(type_of([&] { return clamp(x, 2, 1); }), "clamp: the bounds are not in order: 2 and 1");
  EXPECT_EQ(type_of([&] { return clamp(x, std::nan(""), 1); }),
            "clamp: the bounds are not in order: nan and 1");
  EXPECT_EQ(type_of([&] { return relu(Value()); }), "relu: operand 0 is an empty value");
  EXPECT_EQ(type_of([&] { return x + Value(); }), "add: operand 1 is an empty value");
}

TEST_F(ElementwiseTest, AFailedCallLeavesTheBlockAsItWas) {
  const size_t size = block.size();
  EXPECT_NE(error_of([&] { add(x, h); }), "");
  EXPECT_NE(error_of([&] { exp(i); }), "");
  EXPECT_EQ(block.size(), size);
}

TEST_F(ElementwiseTest, ErrorsNameTheLineOfTheOperator) {
  const int line = __LINE__ + 1;
  const std::string error = error_of([&] { x / h; });
  EXPECT_NE(error.find("elementwise_test.cc:" + std::to_string(line)), std::string::npos) << error;
}

TEST_F(ElementwiseTest, NumbersBecomeConstantsOfTheOtherType) {
  const Value y = 1.5 - h;
  const Node& constant = block.node(y.node().operands[0]);
  EXPECT_EQ(constant.op, &kConstant);
  EXPECT_EQ(constant.attributes.get<ConstantAttributes>().value, Literal::scalar(DType::bf16, 1.5));
  EXPECT_EQ(block.node(y.node().operands[1]).op, &kArgument);
  EXPECT_EQ((i + 2.0).type(), i.type());
  EXPECT_EQ((0.5 * x).type(), x.type());
  EXPECT_EQ(to_text(select(p, 0.0, x).type()), "f32[batch,3]");
  EXPECT_EQ(to_text(greater(i, 3).type()), "bool[2]");
  EXPECT_EQ(type_of([&] { return i + 2.5; }), "constant: 2.5 is no value of i64[2]");
  EXPECT_EQ(type_of([&] { return argument(block, "u", "u8[]") * 256.0; }),
            "constant: 256 is no value of u8[]");
  EXPECT_EQ(type_of([&] { return equal(p, 1.0); }), "constant: 1 is no value of bool[batch,1]");
}

// A decomposition has the types of the op itself, for every float type.
TEST(Elementwise, DecompositionsHaveTheTypesOfTheOp) {
  int composites = 0;
  for (const OpDef* op : elementwise_ops()) {
    // What checks its data can fail, and is no function of its elements alone.
    EXPECT_NE(op->traits.elementwise, op->traits.data_checked) << op->name;
    if (op->decompose == nullptr) continue;
    for (const char* type : {"f32[n,3]", "f64[n,3]", "bf16[n,3]", "f16[n,3]"}) {
      Block block("test");
      std::vector<Value> operands;
      for (int i = 0; i < op->min_operands; ++i) {
        operands.push_back(argument(block, "x" + std::to_string(i), type));
      }
      const Attributes attributes = op->attributes ? op->attributes->parse({}) : Attributes();
      const Value whole = build(*op, operands, attributes, std::source_location::current());
      EXPECT_EQ(types_text(op->decompose(operands, attributes)), types_text(whole)) << op->name;
    }
    ++composites;
  }
  EXPECT_GE(composites, 8);
}

}  // namespace
}  // namespace adjoint
