// What fusion computes again in the regions that read it: text in, text out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>
#include <string>

#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/random.h"
#include "ops/shape.h"
#include "runtime/cpu/fusion_tester.h"

namespace adjoint::cpu {
namespace {

using ::testing::HasSubstr;

// In regions of other shapes. What else reads them still does.
TEST(Fusion, CopiesScalarsWhereTheDeviceSaysSo) {
  const char* text = R"(function f(x: f32[4,3], a: f32[], b: f32[]) {
  %0 = add(a, b) : f32[]
  %1 = exp(%0) : f32[]
  %2 = mul(x, %1) : f32[4,3]
  %3 = neg(%0) : f32[]
  return y=%2, z=%3
}
)";
  EXPECT_EQ(run_pass(fusion_with_scalars(), text),
            R"(function f(x: f32[4,3], a: f32[], b: f32[]) {
  %0 = region(x, a, b) : f32[4,3] {
    block(a0: f32[4,3], a1: f32[], a2: f32[]) {
      %0 = add(a1, a2) : f32[]
      %1 = exp(%0) : f32[]
      %2 = mul(a0, %1) : f32[4,3]
      return r0=%2
    }
  }
  %1 = region(a, b) : f32[] {
    block(a0: f32[], a1: f32[]) {
      %0 = add(a0, a1) : f32[]
      %1 = neg(%0) : f32[]
      return r0=%1
    }
  }
  return y=%0, z=%1
}
)");
}

// Where they are made of results of other kernels, or of many nodes.
TEST(Fusion, CopiesNoScalarsThatCostMore) {
  const std::string text = R"(function f(x: f32[4,3], a: f32[]) {
  %0 = max(x) {axes=[0,1]} : f32[]
  %1 = neg(%0) : f32[]
  %2 = mul(x, %1) : f32[4,3]
  return y=%2
}
)";
  EXPECT_EQ(run_pass(fusion_with_scalars(), text), run_pass(cpu_fusion(), text));
  Module module("m");
  Function& f = module.function("f");
  const Value x = f.argument("x", {DType::f32, {4, 3}}), a = f.argument("a", {DType::f32, {}});
  Value scalar = a;
  for (int i = 0; i < 9; ++i) scalar = add(scalar, a);
  f.result("y", mul(x, scalar));
  EXPECT_EQ(to_text(*fused(f, fusion_with_scalars()).function),
            to_text(*fused(f, cpu_fusion()).function));
}

// As a device has it whose regions hold gathers.
Pass fusion_with_indices() {
  return fusion_pass(
      {.role =
           [](const Node& node, std::span<const Type> operands) {
             const bool indexes =
                 node.op == &kGather || node.op == &kIota || node.op == &kPermuteIndex;
             return indexes ? RegionRole::elementwise : region_role(node, operands);
           },
       .reads_in_place = [](const Node& node,
                            size_t operand) { return node.op != &kGather || operand != 0; },
       .copies = [](const Node&) { return true; },
       .copies_operand = [](const Function&, const Node& node,
                            size_t operand) { return node.op == &kGather && operand == 1; }});
}

TEST(Fusion, GathersComputeTheirIndices) {
  EXPECT_EQ(run_pass(fusion_with_indices(), R"(function f(x: f32[9,3], y: f32[9], start: i64[]) {
  %0 = iota() {shape=[4]} : i64[4]
  %1 = add(start, %0) : i64[4]
  %2 = gather(x, %1) : f32[4,3]
  %3 = gather(y, %1) : f32[4]
  return a=%2, b=%3
}
)"),
            R"(function f(x: f32[9,3], y: f32[9], start: i64[]) {
  %0 = region(x, start) : f32[4,3] {
    block(a0: f32[9,3], a1: i64[]) {
      %0 = iota() {shape=[4]} : i64[4]
      %1 = add(a1, %0) : i64[4]
      %2 = gather(a0, %1) : f32[4,3]
      return r0=%2
    }
  }
  %1 = region(y, start) : f32[4] {
    block(a0: f32[9], a1: i64[]) {
      %0 = iota() {shape=[4]} : i64[4]
      %1 = add(a1, %0) : i64[4]
      %2 = gather(a0, %1) : f32[4]
      return r0=%2
    }
  }
  return a=%0, b=%1
}
)");
}

// Where something else needs them, too, they can fail below, or are many nodes.
TEST(Fusion, GathersReadIndicesThatAreThere) {
  const std::string result = R"(function f(x: f32[9,3], i: i64[4]) {
  %0 = neg(i) : i64[4]
  %1 = gather(x, %0) : f32[4,3]
  return a=%1, i=%0
}
)";
  const std::string fallible = R"(function f(x: f32[9,3], i: i64[4], key: i64[]) {
  %0 = permute_index(key, i) {n=9} : i64[4]
  %1 = neg(%0) : i64[4]
  %2 = gather(x, %1) : f32[4,3]
  return a=%2
}
)";
  for (const std::string& text : {result, fallible}) {
    EXPECT_THAT(run_pass(fusion_with_indices(), text), HasSubstr("= gather(x, %0)"));
  }
  std::string many = "function f(x: f32[9,3], i: i64[4]) {\n  %0 = neg(i) : i64[4]\n";
  for (int k = 1; k < 9; ++k) {
    many += "  %" + std::to_string(k) + " = neg(%" + std::to_string(k - 1) + ") : i64[4]\n";
  }
  many += "  %9 = gather(x, %8) : f32[4,3]\n  return a=%9\n}\n";
  EXPECT_THAT(run_pass(fusion_with_indices(), many), HasSubstr("= gather(x, %0)"));
}

}  // namespace
}  // namespace adjoint::cpu
