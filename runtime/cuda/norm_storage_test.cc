// Casts and bias sums that the kernels of normalisation draw in: text in, text out.
#include "runtime/cuda/norm_storage.h"

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

std::string run(const std::string& text, const HasKernel& has_kernel) {
  Module module("m");
  const Function& function = parse_function(text, module, standard_ops());
  EXPECT_EQ(to_text(function, TextMode::structural), text);
  const Pipeline::Result result =
      Pipeline().add(norm_storage_pass(has_kernel)).add(dce_pass()).run(function);
  verify(*result.function);
  return to_text(*result.function, TextMode::structural);
}
std::string run(const std::string& text) {
  return run(text, [](const KernelRequest&) { return true; });
}

const std::string kForward = R"(function f(x: bf16[2,3], s: f32[3], o: f32[3]) {
  %0 = cast(x) : f32[2,3]
  %1 = region(%0, s, o) : f32[2,3], f32[3], f32[3] {
    block(a0: f32[2,3], a1: f32[3], a2: f32[3]) {
      %0 = batch_norm(a0, a1, a2) : f32[2,3], f32[3], f32[3]
      %1 = relu(%0.0) : f32[2,3]
      return r0=%1, r1=%0.1, r2=%0.2
    }
  }
  %2 = cast(%1.0) {dtype=bf16} : bf16[2,3]
)";

TEST(NormStorage, TakesTheCastsOfTheForward) {
  EXPECT_EQ(run(kForward + "  return y=%2, mean=%1.1\n}\n"),
            R"(function f(x: bf16[2,3], s: f32[3], o: f32[3]) {
  %0 = region(x, s, o) : bf16[2,3], f32[3], f32[3] {
    block(a0: bf16[2,3], a1: f32[3], a2: f32[3]) {
      %0 = cast(a0) : f32[2,3]
      %1 = batch_norm(%0, a1, a2) : f32[2,3], f32[3], f32[3]
      %2 = relu(%1.0) : f32[2,3]
      %3 = cast(%2) {dtype=bf16} : bf16[2,3]
      return r0=%3, r1=%1.1, r2=%1.2
    }
  }
  return y=%0.0, mean=%0.1
}
)");
}

// The cast of x is drawn in all the same.
TEST(NormStorage, LeavesAResultThatOthersUse) {
  EXPECT_EQ(run(kForward + "  return y=%2, z=%1.0\n}\n"),
            R"(function f(x: bf16[2,3], s: f32[3], o: f32[3]) {
  %0 = region(x, s, o) : f32[2,3], f32[3], f32[3] {
    block(a0: bf16[2,3], a1: f32[3], a2: f32[3]) {
      %0 = cast(a0) : f32[2,3]
      %1 = batch_norm(%0, a1, a2) : f32[2,3], f32[3], f32[3]
      %2 = relu(%1.0) : f32[2,3]
      return r0=%2, r1=%1.1, r2=%1.2
    }
  }
  %1 = cast(%0.0) {dtype=bf16} : bf16[2,3]
  return y=%1, z=%0.0
}
)");
}

TEST(NormStorage, LeavesWhatNoKernelTakes) {
  const std::string text = kForward + "  return y=%2, mean=%1.1\n}\n";
  EXPECT_EQ(run(text, [](const KernelRequest&) { return false; }), text);
}

TEST(NormStorage, TakesTheCastsAndTheBiasSumOfTheBackward) {
  const auto known = [](const KernelRequest& request) {
    return signature_between_casts(request.region()) == kBiasNormReluBiasGrad;
  };
  EXPECT_EQ(
      run(R"(function f(dy: bf16[2,3], x: bf16[2,3], s: f32[3], o: f32[3], m: f32[3], v: f32[3], b: f32[3]) {
  %0 = cast(dy) : f32[2,3]
  %1 = cast(x) : f32[2,3]
  %2 = region(%0, %1, s, o, m, v, b) : f32[2,3], f32[3], f32[3] {
    block(a0: f32[2,3], a1: f32[2,3], a2: f32[3], a3: f32[3], a4: f32[3], a5: f32[3], a6: f32[3]) {
      %0 = add(a1, a6) : f32[2,3]
      %1 = batch_norm_inference(%0, a2, a3, a4, a5) : f32[2,3]
      %2 = relu(%1) : f32[2,3]
      %3 = relu_grad(a0, %2) : f32[2,3]
      %4 = batch_norm_grad(%3, %0, a2, a4, a5) : f32[2,3], f32[3], f32[3]
      return r0=%4.0, r1=%4.1, r2=%4.2
    }
  }
  %3 = sum_to(%2.0) {shape=[3]} : f32[3]
  %4 = cast(%2.0) {dtype=bf16} : bf16[2,3]
  return dx=%4, db=%3, ds=%2.1
}
)",
          known),
      R"(function f(dy: bf16[2,3], x: bf16[2,3], s: f32[3], o: f32[3], m: f32[3], v: f32[3], b: f32[3]) {
  %0 = region(dy, x, s, o, m, v, b) : bf16[2,3], f32[3], f32[3], f32[3] {
    block(a0: bf16[2,3], a1: bf16[2,3], a2: f32[3], a3: f32[3], a4: f32[3], a5: f32[3], a6: f32[3]) {
      %0 = cast(a0) : f32[2,3]
      %1 = cast(a1) : f32[2,3]
      %2 = add(%1, a6) : f32[2,3]
      %3 = batch_norm_inference(%2, a2, a3, a4, a5) : f32[2,3]
      %4 = relu(%3) : f32[2,3]
      %5 = relu_grad(%0, %4) : f32[2,3]
      %6 = batch_norm_grad(%5, %2, a2, a4, a5) : f32[2,3], f32[3], f32[3]
      %7 = sum_to(%6.0) {shape=[3]} : f32[3]
      %8 = cast(%6.0) {dtype=bf16} : bf16[2,3]
      return r0=%8, r1=%6.1, r2=%6.2, r3=%7
    }
  }
  return dx=%0.0, db=%0.3, ds=%0.1
}
)");
}

}  // namespace
}  // namespace adjoint::cuda
