// A product and its bias: text in, text out.
#include "runtime/cuda/matmul_bias.h"

#include <gtest/gtest.h>

#include <string>

#include "graph/parser.h"
#include "graph/passes.h"
#include "graph/printer.h"
#include "graph/verifier.h"
#include "ops/standard_ops.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

std::string run(const std::string& text, bool taken = true) {
  Module module("m");
  const Function& function = parse_function(text, module, standard_ops());
  EXPECT_EQ(to_text(function, TextMode::structural), text);
  const auto has_kernel = [&](const KernelRequest& request) {
    EXPECT_EQ(signature(request.region()), kMatmulBias);
    return taken;
  };
  const Pipeline::Result result =
      Pipeline().add(matmul_bias_pass(has_kernel)).add(dce_pass()).run(function);
  verify(*result.function);
  return to_text(*result.function, TextMode::structural);
}

constexpr const char* kDense = R"(function f(x: f32[2,3], w: f32[3,4], b: f32[4]) {
  %0 = matmul(x, w) : f32[2,4]
  %1 = add(b, %0) : f32[2,4]
  return y=%1
}
)";

TEST(MatmulBias, BecomesOneRegion) {
  EXPECT_EQ(run(kDense), R"(function f(x: f32[2,3], w: f32[3,4], b: f32[4]) {
  %0 = region(x, w, b) : f32[2,4] {
    block(a0: f32[2,3], a1: f32[3,4], a2: f32[4]) {
      %0 = matmul(a0, a1) : f32[2,4]
      %1 = add(%0, a2) : f32[2,4]
      return r0=%1
    }
  }
  return y=%0
}
)");
}

TEST(MatmulBias, LeavesWhatNoKernelTakes) { EXPECT_EQ(run(kDense, false), kDense); }

TEST(MatmulBias, LeavesProductsThatOthersUseAndOtherSums) {
  for (const char* text : {R"(function f(x: f32[2,3], w: f32[3,4], b: f32[4]) {
  %0 = matmul(x, w) : f32[2,4]
  %1 = add(%0, b) : f32[2,4]
  return y=%1, z=%0
}
)",
                           R"(function f(x: f32[2,3], w: f32[3,4], b: f32[2,4]) {
  %0 = matmul(x, w) : f32[2,4]
  %1 = add(%0, b) : f32[2,4]
  return y=%1
}
)",
                           R"(function f(x: f32[n,3], w: f32[3,4], b: f32[4]) {
  %0 = matmul(x, w) : f32[n,4]
  %1 = add(%0, b) : f32[n,4]
  return y=%1
}
)"}) {
    EXPECT_EQ(run(text), text);
  }
}

}  // namespace
}  // namespace adjoint::cuda
