// Filters in cuDNN's order: text in, text out.
#include "runtime/cuda/filter_layout.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "graph/parser.h"
#include "graph/passes.h"
#include "graph/printer.h"
#include "graph/verifier.h"
#include "ops/standard_ops.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

bool takes_f32(const KernelRequest& request) { return request.outputs[0].dtype == DType::f32; }

std::string run(const std::string& text,
                const std::function<bool(const KernelRequest&)>& has_kernel = takes_f32) {
  Module module("m");
  const Function& function = parse_function(text, module, standard_ops());
  EXPECT_EQ(to_text(function, TextMode::structural), text);
  const Pipeline::Result result =
      Pipeline().add(filter_layout_pass(has_kernel)).add(cse_pass()).add(dce_pass()).run(function);
  verify(*result.function);
  return to_text(*result.function, TextMode::structural);
}

constexpr const char* kStep =
    R"(function f(x: f32[2,6,6,3], w: f32[3,3,3,4], dy: f32[2,4,4,4]) {
  %0 = conv2d(x, w) : f32[2,4,4,4]
  %1 = conv2d_input_grad(dy, w) {input=[2,6,6,3]} : f32[2,6,6,3]
  %2 = conv2d_filter_grad(x, dy) {filter=[3,3,3,4]} : f32[3,3,3,4]
  return y=%0, dx=%1, dw=%2
}
)";

TEST(FilterLayout, AConvolutionAndItsGradientShareOneTransposedFilter) {
  EXPECT_EQ(run(kStep), R"(function f(x: f32[2,6,6,3], w: f32[3,3,3,4], dy: f32[2,4,4,4]) {
  %0 = transpose(w) {permutation=[3,0,1,2]} : f32[4,3,3,3]
  %1 = region(x, %0) : f32[2,4,4,4] {
    block(a0: f32[2,6,6,3], a1: f32[4,3,3,3]) {
      %0 = transpose(a1) {permutation=[1,2,3,0]} : f32[3,3,3,4]
      %1 = conv2d(a0, %0) : f32[2,4,4,4]
      return r0=%1
    }
  }
  %2 = region(dy, %0) : f32[2,6,6,3] {
    block(a0: f32[2,4,4,4], a1: f32[4,3,3,3]) {
      %0 = transpose(a1) {permutation=[1,2,3,0]} : f32[3,3,3,4]
      %1 = conv2d_input_grad(a0, %0) {input=[2,6,6,3]} : f32[2,6,6,3]
      return r0=%1
    }
  }
  %3 = region(x, dy) : f32[4,3,3,3] {
    block(a0: f32[2,6,6,3], a1: f32[2,4,4,4]) {
      %0 = conv2d_filter_grad(a0, a1) {filter=[3,3,3,4]} : f32[3,3,3,4]
      %1 = transpose(%0) {permutation=[3,0,1,2]} : f32[4,3,3,3]
      return r0=%1
    }
  }
  %4 = transpose(%3) {permutation=[1,2,3,0]} : f32[3,3,3,4]
  return y=%1, dx=%2, dw=%4
}
)");
}

TEST(FilterLayout, TheRegionsHaveTheSignaturesThatKernelsKnow) {
  std::vector<std::string> seen;
  run(kStep, [&](const KernelRequest& request) {
    seen.push_back(signature(request.region()));
    return true;
  });
  EXPECT_EQ(seen,
            (std::vector<std::string>{kTurnedConv, kTurnedConvInputGrad, kTurnedConvFilterGrad}));
}

TEST(FilterLayout, TransposesBeforeACast) {
  EXPECT_EQ(run(R"(function f(x: bf16[1,6,6,1], w: f32[3,3,1,4]) {
  %0 = cast(w) {dtype=bf16} : bf16[3,3,1,4]
  %1 = conv2d(x, %0) : bf16[1,4,4,4]
  return y=%1
}
)",
                [](const KernelRequest&) { return true; }),
            R"(function f(x: bf16[1,6,6,1], w: f32[3,3,1,4]) {
  %0 = transpose(w) {permutation=[3,0,1,2]} : f32[4,3,3,1]
  %1 = cast(%0) {dtype=bf16} : bf16[4,3,3,1]
  %2 = region(x, %1) : bf16[1,4,4,4] {
    block(a0: bf16[1,6,6,1], a1: bf16[4,3,3,1]) {
      %0 = transpose(a1) {permutation=[1,2,3,0]} : bf16[3,3,1,4]
      %1 = conv2d(a0, %0) : bf16[1,4,4,4]
      return r0=%1
    }
  }
  return y=%2
}
)");
}

TEST(FilterLayout, LeavesWhatNoKernelTakes) {
  EXPECT_EQ(run(kStep, [](const KernelRequest&) { return false; }), kStep);
  const char* symbolic = R"(function f(x: f32[batch,6,6,3], w: f32[3,3,3,4]) {
  %0 = conv2d(x, w) : f32[batch,4,4,4]
  return y=%0
}
)";
  EXPECT_EQ(run(symbolic), symbolic);
}

}  // namespace
}  // namespace adjoint::cuda
