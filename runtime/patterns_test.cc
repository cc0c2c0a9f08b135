// Patterns of normalisation, relu and pooling: text in, text out.
#include "runtime/patterns.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "graph/parser.h"
#include "graph/passes.h"
#include "graph/printer.h"
#include "graph/verifier.h"
#include "ops/standard_ops.h"

namespace adjoint {
namespace {

std::string run(const Pass& pass, const std::string& text) {
  Module module("m");
  const Function& function = parse_function(text, module, standard_ops());
  EXPECT_EQ(to_text(function, TextMode::structural), text);
  const std::optional<Rewritten> result = pass.run(function);
  if (!result) return text;
  verify(*result->function);
  const std::optional<Rewritten> clean = dce_pass().run(*result->function);
  return to_text(clean ? *clean->function : *result->function, TextMode::structural);
}

TEST(NormReluPass, GathersNormalisationReluAndPool) {
  EXPECT_EQ(run(norm_relu_pass(), R"(function f(x: f32[2,4,6,3], s: f32[3], o: f32[3]) {
  %0 = batch_norm(x, s, o) : f32[2,4,6,3], f32[3], f32[3]
  %1 = relu(%0.0) : f32[2,4,6,3]
  %2 = max_pool(%1) {window=[2,2], stride=[2,2]} : f32[2,2,3,3]
  return y=%2, mean=%0.1
}
)"),
            R"(function f(x: f32[2,4,6,3], s: f32[3], o: f32[3]) {
  %0 = region(x, s, o) : f32[2,2,3,3], f32[3], f32[3] {
    block(a0: f32[2,4,6,3], a1: f32[3], a2: f32[3]) {
      %0 = batch_norm(a0, a1, a2) : f32[2,4,6,3], f32[3], f32[3]
      %1 = relu(%0.0) : f32[2,4,6,3]
      %2 = max_pool(%1) {window=[2,2], stride=[2,2]} : f32[2,2,3,3]
      return r0=%2, r1=%0.1, r2=%0.2
    }
  }
  return y=%0.0, mean=%0.1
}
)");
}

TEST(NormReluPass, GathersTheirInference) {
  EXPECT_EQ(
      run(norm_relu_pass(), R"(function f(x: f32[2,3], s: f32[3], o: f32[3], m: f32[3], v: f32[3]) {
  %0 = batch_norm_inference(x, s, o, m, v) : f32[2,3]
  %1 = relu(%0) : f32[2,3]
  return y=%1
}
)"),
      R"(function f(x: f32[2,3], s: f32[3], o: f32[3], m: f32[3], v: f32[3]) {
  %0 = region(x, s, o, m, v) : f32[2,3] {
    block(a0: f32[2,3], a1: f32[3], a2: f32[3], a3: f32[3], a4: f32[3]) {
      %0 = batch_norm_inference(a0, a1, a2, a3, a4) : f32[2,3]
      %1 = relu(%0) : f32[2,3]
      return r0=%1
    }
  }
  return y=%0
}
)");
}

TEST(NormReluGradPass, GathersTheBackward) {
  EXPECT_EQ(run(norm_relu_grad_pass(),
                R"(function f(x: f32[2,4,6,3], s: f32[3], o: f32[3], dy: f32[2,2,3,3]) {
  %0 = batch_norm(x, s, o) : f32[2,4,6,3], f32[3], f32[3]
  %1 = relu(%0.0) : f32[2,4,6,3]
  %2 = max_pool_grad(dy, %1) {window=[2,2], stride=[2,2]} : f32[2,4,6,3]
  %3 = relu_grad(%2, %1) : f32[2,4,6,3]
  %4 = batch_norm_grad(%3, x, s, %0.1, %0.2) : f32[2,4,6,3], f32[3], f32[3]
  return dx=%4.0, ds=%4.1, do=%4.2
}
)"),
            R"(function f(x: f32[2,4,6,3], s: f32[3], o: f32[3], dy: f32[2,2,3,3]) {
  %0 = batch_norm(x, s, o) : f32[2,4,6,3], f32[3], f32[3]
  %1 = region(dy, x, s, o, %0.1, %0.2) : f32[2,4,6,3], f32[3], f32[3] {
    block(a0: f32[2,2,3,3], a1: f32[2,4,6,3], a2: f32[3], a3: f32[3], a4: f32[3], a5: f32[3]) {
      %0 = batch_norm_inference(a1, a2, a3, a4, a5) : f32[2,4,6,3]
      %1 = relu(%0) : f32[2,4,6,3]
      %2 = max_pool_grad(a0, %1) {window=[2,2], stride=[2,2]} : f32[2,4,6,3]
      %3 = relu_grad(%2, %1) : f32[2,4,6,3]
      %4 = batch_norm_grad(%3, a1, a2, a4, a5) : f32[2,4,6,3], f32[3], f32[3]
      return r0=%4.0, r1=%4.1, r2=%4.2
    }
  }
  return dx=%1.0, ds=%1.1, do=%1.2
}
)");
}

TEST(NormBiasPass, DrawsTheBiasIntoForwardAndBackward) {
  const std::string step =
      run(norm_relu_grad_pass(),
          R"(function f(x: f32[2,3], b: f32[3], s: f32[3], o: f32[3], dy: f32[2,3]) {
  %0 = add(b, x) : f32[2,3]
  %1 = batch_norm(%0, s, o) : f32[2,3], f32[3], f32[3]
  %2 = relu(%1.0) : f32[2,3]
  %3 = relu_grad(dy, %2) : f32[2,3]
  %4 = batch_norm_grad(%3, %0, s, %1.1, %1.2) : f32[2,3], f32[3], f32[3]
  return y=%2, dx=%4.0
}
)");
  EXPECT_EQ(run(norm_bias_pass(), run(norm_relu_pass(), step)),
            R"(function f(x: f32[2,3], b: f32[3], s: f32[3], o: f32[3], dy: f32[2,3]) {
  %0 = region(x, s, o, b) : f32[2,3], f32[3], f32[3] {
    block(a0: f32[2,3], a1: f32[3], a2: f32[3], a3: f32[3]) {
      %0 = add(a0, a3) : f32[2,3]
      %1 = batch_norm(%0, a1, a2) : f32[2,3], f32[3], f32[3]
      %2 = relu(%1.0) : f32[2,3]
      return r0=%2, r1=%1.1, r2=%1.2
    }
  }
  %1 = region(dy, x, s, o, %0.1, %0.2, b) : f32[2,3], f32[3], f32[3] {
    block(a0: f32[2,3], a1: f32[2,3], a2: f32[3], a3: f32[3], a4: f32[3], a5: f32[3], a6: f32[3]) {
      %0 = add(a1, a6) : f32[2,3]
      %1 = batch_norm_inference(%0, a2, a3, a4, a5) : f32[2,3]
      %2 = relu(%1) : f32[2,3]
      %3 = relu_grad(a0, %2) : f32[2,3]
      %4 = batch_norm_grad(%3, %0, a2, a4, a5) : f32[2,3], f32[3], f32[3]
      return r0=%4.0, r1=%4.1, r2=%4.2
    }
  }
  return y=%0.0, dx=%1.0
}
)");
}

// A sum that is used elsewhere too is stored anyway.
TEST(NormBiasPass, LeavesSumsThatOthersUse) {
  const std::string region = R"(function f(x: f32[2,3], b: f32[3], s: f32[3], o: f32[3]) {
  %0 = add(x, b) : f32[2,3]
  %1 = region(%0, s, o) : f32[2,3], f32[3], f32[3] {
    block(a0: f32[2,3], a1: f32[3], a2: f32[3]) {
      %0 = batch_norm(a0, a1, a2) : f32[2,3], f32[3], f32[3]
      %1 = relu(%0.0) : f32[2,3]
      return r0=%1, r1=%0.1, r2=%0.2
    }
  }
)";
  for (const char* use :
       {"  return y=%1.0, z=%0\n}\n", "  %2 = neg(%0) : f32[2,3]\n  return y=%1.0, z=%2\n}\n"}) {
    EXPECT_EQ(run(norm_bias_pass(), region + use), region + use);
  }
}

// A value that is used elsewhere too must stay.
TEST(NormReluPass, LeavesOthersAlone) {
  const char* text = R"(function f(x: f32[2,3], s: f32[3], o: f32[3]) {
  %0 = batch_norm(x, s, o) : f32[2,3], f32[3], f32[3]
  %1 = relu(%0.0) : f32[2,3]
  return y=%1, z=%0.0
}
)";
  EXPECT_EQ(run(norm_relu_pass(), text), text);
}

}  // namespace
}  // namespace adjoint
