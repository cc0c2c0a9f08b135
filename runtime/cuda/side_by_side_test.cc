// Kernels that share a launch, and what stays apart for the state's sake: text in, text out.
#include "runtime/cuda/side_by_side.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "graph/parser.h"
#include "graph/printer.h"
#include "graph/verifier.h"
#include "ops/standard_ops.h"

namespace adjoint::cuda {
namespace {

std::string run(const std::string& text) {
  Module module("m");
  for (const char* name : {"v", "w"}) module.variable(name, {DType::f32, {4}}, {});
  const Function& function = parse_function(text, module, standard_ops());
  EXPECT_EQ(to_text(function, TextMode::structural), text);
  const std::optional<Rewritten> result = side_by_side_pass().run(function);
  if (!result) return text;
  verify(*result->function);
  return to_text(*result->function, TextMode::structural);
}

TEST(SideBySide, MergesWhatIsEquallyFarFromTheEnd) {
  EXPECT_EQ(run(R"(function f(x: f32[4], y: f32[2,3]) {
  %0 = exp(x) : f32[4]
  %1 = neg(y) : f32[2,3]
  return a=%0, b=%1
}
)"),
            R"(function f(x: f32[4], y: f32[2,3]) {
  %0 = region(x, y) : f32[4], f32[2,3] {
    block(a0: f32[4], a1: f32[2,3]) {
      %0 = exp(a0) : f32[4]
      %1 = neg(a1) : f32[2,3]
      return r0=%0, r1=%1
    }
  }
  return a=%0.0, b=%0.1
}
)");
}

// The transposed matrix is needed last, but may come with the first kernel.
TEST(SideBySide, WhatNeedsNothingRunsWithTheFirst) {
  EXPECT_EQ(run(R"(function f(x: f32[2,2], w: f32[2,2]) {
  %0 = exp(x) : f32[2,2]
  %1 = softmax(%0) : f32[2,2]
  %2 = transpose(w) {permutation=[1,0]} : f32[2,2]
  %3 = matmul(%1, %2) : f32[2,2]
  return y=%3
}
)"),
            R"(function f(x: f32[2,2], w: f32[2,2]) {
  %0 = region(x, w) : f32[2,2], f32[2,2] {
    block(a0: f32[2,2], a1: f32[2,2]) {
      %0 = exp(a0) : f32[2,2]
      %1 = transpose(a1) {permutation=[1,0]} : f32[2,2]
      return r0=%0, r1=%1
    }
  }
  %1 = softmax(%0.0) : f32[2,2]
  %2 = matmul(%1, %0.1) : f32[2,2]
  return y=%2
}
)");
}

// A check runs before the state is written, with others that do not write it.
TEST(SideBySide, AChecksLaunchWritesNoState) {
  EXPECT_EQ(run(R"(function f(x: f32[4], y: f32[4]) {
  %0 = check_finite(x) : f32[4]
  %1 = neg(y) : f32[4]
  %2 = mul(y, %1) : f32[4]
  %3 = exp(y) : f32[4]
  update v <- %2
  update w <- %3
  return z=%0
}
)"),
            R"(function f(x: f32[4], y: f32[4]) {
  %0 = region(x, y) : f32[4], f32[4] {
    block(a0: f32[4], a1: f32[4]) {
      %0 = check_finite(a0) : f32[4]
      %1 = neg(a1) : f32[4]
      return r0=%0, r1=%1
    }
  }
  %1 = region(y, %0.1) : f32[4], f32[4] {
    block(a0: f32[4], a1: f32[4]) {
      %0 = mul(a0, a1) : f32[4]
      %1 = exp(a0) : f32[4]
      return r0=%0, r1=%1
    }
  }
  update v <- %1.0
  update w <- %1.1
  return z=%0.0
}
)");
}

// A report names one op.
TEST(SideBySide, OnlyOneOfALaunchCanFail) {
  const char* text = R"(function f(x: f32[4], y: f32[4]) {
  %0 = check_finite(x) : f32[4]
  %1 = check_finite(y) : f32[4]
  return a=%0, b=%1
}
)";
  EXPECT_EQ(run(text), text);
}

}  // namespace
}  // namespace adjoint::cuda
