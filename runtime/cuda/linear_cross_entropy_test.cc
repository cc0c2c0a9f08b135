// A last layer with its cross entropy and gradients: text in, text out.
#include "runtime/cuda/linear_cross_entropy.h"

#include <gtest/gtest.h>

#include <string>

#include "runtime/cuda/region_pass_tester.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

std::string run(const std::string& text, const HasKernel& has_kernel = takes_all) {
  return transformed(text, linear_cross_entropy_pass(has_kernel));
}

std::string replaced(std::string text, const std::string& part, const std::string& by) {
  const size_t at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return at == std::string::npos ? text : text.replace(at, part.size(), by);
}

const std::string kHead =
    "function f(x: f32[2,3], w: f32[3,4], b: f32[4], t: u8[2], g: f32[2], v: f32[3,4]) {\n";
const std::string kLinear = R"(  %0 = region(x, w, b) : f32[2,4] {
    block(a0: f32[2,3], a1: f32[3,4], a2: f32[4]) {
      %0 = matmul(a0, a1) : f32[2,4]
      %1 = add(%0, a2) : f32[2,4]
      return r0=%1
    }
  }
)";
// As a training step has it: the loss's mean is used before its gradient is there.
const std::string kStep = kHead + kLinear + R"(  %1 = softmax_cross_entropy(%0, t) : f32[2]
  %2 = mean(%1) {axes=[0]} : f32[]
  %3 = argmax(%0) {axis=1} : i64[2]
  %4 = constant() {value=f32[2]{0.5,0.5}} : f32[2]
  %5 = softmax_cross_entropy_grad(%4, %0, t) : f32[2,4]
  %6 = matmul(%5, w) {tb=true} : f32[2,3]
  %7 = matmul(x, %5) {ta=true} : f32[3,4]
  return loss=%2, class=%3, dx=%6, dw=%7
}
)";

TEST(LinearCrossEntropy, IsOneRegionInTheFirstProductsPlace) {
  EXPECT_EQ(run(kStep), kHead + R"(  %0 = constant() {value=f32[2]{0.5,0.5}} : f32[2]
  %1 = region(x, w, b, t, %0) : f32[2,4], f32[2], f32[2,4], f32[2,3] {
    block(a0: f32[2,3], a1: f32[3,4], a2: f32[4], a3: u8[2], a4: f32[2]) {
      %0 = matmul(a0, a1) : f32[2,4]
      %1 = add(%0, a2) : f32[2,4]
      %2 = softmax_cross_entropy(%1, a3) : f32[2]
      %3 = softmax_cross_entropy_grad(a4, %1, a3) : f32[2,4]
      %4 = matmul(%3, a1) {tb=true} : f32[2,3]
      return r0=%1, r1=%2, r2=%3, r3=%4
    }
  }
  %2 = mean(%1.1) {axes=[0]} : f32[]
  %3 = argmax(%1.0) {axis=1} : i64[2]
  %4 = matmul(x, %1.2) {ta=true} : f32[3,4]
  return loss=%2, class=%3, dx=%1.3, dw=%4
}
)");
}

TEST(LinearCrossEntropy, HasTheKernelsSignature) {
  int asked = 0;
  const auto has_kernel = [&](const KernelRequest& request) {
    EXPECT_EQ(signature(request.region()), kLinearCrossEntropy);
    ++asked;
    return false;
  };
  EXPECT_EQ(run(kStep, has_kernel), kStep);
  EXPECT_EQ(asked, 1);
}

TEST(LinearCrossEntropy, LeavesOtherSteps) {
  for (const std::string& text : {
           // dloss is computed behind the logits, the weights or the labels are others.
           replaced(kStep, "constant() {value=f32[2]{0.5,0.5}}", "exp(g)"),
           replaced(kStep, "matmul(%5, w)", "matmul(%5, v)"),
           replaced(kStep, "softmax_cross_entropy(%0, t)", "softmax_cross_entropy_dense(%0, %0)"),
       }) {
    EXPECT_EQ(run(text), text);
  }
}

// The cotangent may be the caller's.
TEST(LinearCrossEntropy, TakesWhatIsThereBefore) {
  const std::string text = kHead + kLinear + R"(  %1 = softmax_cross_entropy(%0, t) : f32[2]
  %2 = softmax_cross_entropy_grad(g, %0, t) : f32[2,4]
  %3 = matmul(%2, w) {tb=true} : f32[2,3]
  return loss=%1, dx=%3
}
)";
  EXPECT_NE(run(text), text);
}

}  // namespace
}  // namespace adjoint::cuda
