// Text in, text out: products of f32 in bf16.
#include "runtime/precision.h"

#include <gtest/gtest.h>

#include <string>

#include "graph/parser.h"
#include "graph/printer.h"
#include "graph/verifier.h"
#include "ops/standard_ops.h"

namespace adjoint {
namespace {

std::string applied(const std::string& text, Precision precision,
                    TextMode mode = TextMode::structural) {
  Module module("test");
  const Function& function = parse_function(text, module, standard_ops());
  const auto result = apply_precision(function, precision);
  verify(*result.function);
  return to_text(*result.function, mode);
}

constexpr const char* kLayer =
    R"(function f(x: f32[batch,784], w: f32[784,16], t: f32[batch,16]) {
  %0 = matmul(x, w) : f32[batch,16]
  %1 = sub(%0, t)  : f32[batch,16]
  %2 = matmul(x, %1) {ta=true} : f32[784,16]
  %3 = matmul(%1, w) {tb=true} : f32[batch,784]
  return slope=%2, back=%3
}
)";

TEST(Precision, Bf16CastsEachOperandOnce) {
  EXPECT_EQ(applied(kLayer, Precision::bf16),
            R"(function f(x: f32[batch,784], w: f32[784,16], t: f32[batch,16]) {
  %0 = cast(x) {dtype=bf16} : bf16[batch,784]
  %1 = cast(w) {dtype=bf16} : bf16[784,16]
  %2 = matmul(%0, %1) : bf16[batch,16]
  %3 = cast(%2) : f32[batch,16]
  %4 = sub(%3, t) : f32[batch,16]
  %5 = cast(%4) {dtype=bf16} : bf16[batch,16]
  %6 = matmul(%0, %5) {ta=true} : bf16[784,16]
  %7 = cast(%6) : f32[784,16]
  %8 = matmul(%5, %1) {tb=true} : bf16[batch,784]
  %9 = cast(%8) : f32[batch,784]
  return slope=%7, back=%9
}
)");
}

TEST(Precision, ConvolutionsAndTheirGradients) {
  EXPECT_EQ(applied(R"(function f(x: f32[b,6,6,3], k: f32[3,3,3,4], dy: f32[b,4,4,4]) {
  %0 = conv2d(x, k) : f32[b,4,4,4]
  %1 = conv2d_input_grad(dy, k) {input=[b,6,6,3]} : f32[b,6,6,3]
  %2 = conv2d_filter_grad(x, dy) {filter=[3,3,3,4]} : f32[3,3,3,4]
  return y=%0, dx=%1, dk=%2
}
)",
                    Precision::bf16),
            R"(function f(x: f32[b,6,6,3], k: f32[3,3,3,4], dy: f32[b,4,4,4]) {
  %0 = cast(x) {dtype=bf16} : bf16[b,6,6,3]
  %1 = cast(k) {dtype=bf16} : bf16[3,3,3,4]
  %2 = conv2d(%0, %1) : bf16[b,4,4,4]
  %3 = cast(%2) : f32[b,4,4,4]
  %4 = cast(dy) {dtype=bf16} : bf16[b,4,4,4]
  %5 = conv2d_input_grad(%4, %1) {input=[b,6,6,3]} : bf16[b,6,6,3]
  %6 = cast(%5) : f32[b,6,6,3]
  %7 = conv2d_filter_grad(%0, %4) {filter=[3,3,3,4]} : bf16[3,3,3,4]
  %8 = cast(%7) : f32[3,3,3,4]
  return y=%3, dx=%6, dk=%8
}
)");
}

// Of m, k or n; a symbol may be anything.
TEST(Precision, ProductsWithAShortSideStay) {
  const std::string text = R"(function f(x: f32[b,32], w: f32[32,15], y: f32[15,32]) {
  %0 = matmul(x, w) : f32[b,15]
  %1 = matmul(%0, y) : f32[b,32]
  %2 = matmul(%0, x) {ta=true} : f32[15,32]
  %3 = matmul(w, y) {ta=true, tb=true} : f32[15,15]
  return n=%0, k=%1, m=%2, both=%3
}
)";
  EXPECT_EQ(applied(text, Precision::bf16), text);
}

TEST(Precision, OtherTypesAndAccumulatorsStay) {
  const std::string text = R"(function f(a: f64[2,3], b: f64[3,2], c: f32[2,3], d: f32[3,2]) {
  %0 = matmul(a, b) : f64[2,2]
  %1 = matmul(c, d) {accumulate=f64} : f32[2,2]
  %2 = add(c, c) : f32[2,3]
  return x=%0, y=%1, z=%2
}
)";
  EXPECT_EQ(applied(text, Precision::bf16), text);
}

TEST(Precision, ReshapesAreOfBf16BesideProducts) {
  EXPECT_EQ(applied(R"(function f(x: f32[b,2,8], w: f32[16,16]) {
  %0 = iota() {shape=[16], dtype=f32} : f32[16]
  %1 = exp(x) : f32[b,2,8]
  %2 = reshape(%1) {shape=[b,16]} : f32[b,16]
  %3 = matmul(%2, w) : f32[b,16]
  %4 = add(%3, %0) : f32[b,16]
  return y=%4
}
)",
                    Precision::bf16),
            R"(function f(x: f32[b,2,8], w: f32[16,16]) {
  %0 = iota() {shape=[16], dtype=f32} : f32[16]
  %1 = exp(x) : f32[b,2,8]
  %2 = cast(%1) {dtype=bf16} : bf16[b,2,8]
  %3 = reshape(%2) {shape=[b,16]} : bf16[b,16]
  %4 = cast(w) {dtype=bf16} : bf16[16,16]
  %5 = matmul(%3, %4) : bf16[b,16]
  %6 = cast(%5) : f32[b,16]
  %7 = add(%6, %0) : f32[b,16]
  return y=%7
}
)");
}

TEST(Precision, TheOthersChangeNothing) {
  const std::string text = applied(kLayer, Precision::f32);
  EXPECT_EQ(text.find("bf16"), std::string::npos) << text;
  EXPECT_EQ(applied(kLayer, Precision::tf32), text);
}

TEST(Precision, WhatIsNewHasTheProductsOrigin) {
  const std::string text = applied(
      R"(function f(x: f32[16,32], w: f32[32,16]) {
  %0 = matmul(x, w) : f32[16,16] @at("model.cc":12)
  return y=%0
}
)",
      Precision::bf16, TextMode::full);
  size_t count = 0;
  for (size_t at = 0; (at = text.find("@at(\"model.cc\":12)", at)) != std::string::npos; ++at) {
    ++count;
  }
  EXPECT_EQ(count, 4u) << text;  // three casts and the product
}

TEST(Precision, NamesReadBack) {
  for (Precision p : {Precision::f32, Precision::tf32, Precision::bf16}) {
    EXPECT_EQ(precision_of(name(p)), p);
  }
  EXPECT_EQ(precision_of("f16"), std::nullopt);
}

}  // namespace
}  // namespace adjoint
