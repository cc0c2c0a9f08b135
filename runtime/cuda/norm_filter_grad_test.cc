// The filter's gradient that alone uses batch norm's: text in, text out.
#include "runtime/cuda/norm_filter_grad.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "graph/parser.h"
#include "ops/standard_ops.h"
#include "runtime/cuda/conv_norm_grad.h"
#include "runtime/cuda/region_pass_tester.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

std::string run(const std::string& text, const HasKernel& has_kernel = takes_all) {
  return transformed(text, norm_filter_grad_pass(has_kernel));
}

// The gradient of a normalisation alone, without a pool.
const std::string kHead =
    "function f(i: f32[2,8,9,1], g: f32[2,6,7,8], x: f32[2,6,7,8], s: f32[8], o: f32[8], "
    "m: f32[8], v: f32[8]) {\n";
const std::string kNorm =
    R"(  %0 = region(g, x, s, o, m, v) : f32[2,6,7,8], f32[8], f32[8] {
    block(a0: f32[2,6,7,8], a1: f32[2,6,7,8], a2: f32[8], a3: f32[8], a4: f32[8], a5: f32[8]) {
      %0 = batch_norm_inference(a1, a2, a3, a4, a5) : f32[2,6,7,8]
      %1 = relu(%0) : f32[2,6,7,8]
      %2 = relu_grad(a0, %1) : f32[2,6,7,8]
      %3 = batch_norm_grad(%2, a1, a2, a4, a5) : f32[2,6,7,8], f32[8], f32[8]
      return r0=%3.0, r1=%3.1, r2=%3.2
    }
  }
)";
const std::string kFilter =
    "  %1 = conv2d_filter_grad(i, %0.0) {filter=[3,3,1,8]} : f32[3,3,1,8]\n";
const std::string kJoined =
    R"(  %0 = region(i, g, x, s, o, m, v) : f32[3,3,1,8], f32[8], f32[8] {
    block(a0: f32[2,8,9,1], a1: f32[2,6,7,8], a2: f32[2,6,7,8], a3: f32[8], a4: f32[8], a5: f32[8], a6: f32[8]) {
      %0 = batch_norm_inference(a2, a3, a4, a5, a6) : f32[2,6,7,8]
      %1 = relu(%0) : f32[2,6,7,8]
      %2 = relu_grad(a1, %1) : f32[2,6,7,8]
      %3 = batch_norm_grad(%2, a2, a3, a5, a6) : f32[2,6,7,8], f32[8], f32[8]
      %4 = conv2d_filter_grad(a0, %3.0) {filter=[3,3,1,8]} : f32[3,3,1,8]
      return r0=%4, r1=%3.1, r2=%3.2
    }
  }
)";
const std::string kResults = "  return df=%1, ds=%0.1, do=%0.2\n}\n";

TEST(NormFilterGrad, IsOneRegion) {
  EXPECT_EQ(run(kHead + kNorm + kFilter + kResults),
            kHead + kJoined + "  return df=%0.0, ds=%0.1, do=%0.2\n}\n");
}

// With the convolution behind, a bias and its gradient, in bf16.
const std::string kBehind =
    R"(function f(i: bf16[2,8,8,1], dy: bf16[2,2,2,8], w: bf16[2,2,8,8], x: bf16[2,6,6,8], s: f32[8], o: f32[8], m: f32[8], v: f32[8], b: f32[8]) {
  %0 = region(dy, w, x, s, o, m, v, b) : bf16[2,6,6,8], f32[8], f32[8], f32[8] {
    block(a0: bf16[2,2,2,8], a1: bf16[2,2,8,8], a2: bf16[2,6,6,8], a3: f32[8], a4: f32[8], a5: f32[8], a6: f32[8], a7: f32[8]) {
      %0 = conv2d_input_grad(a0, a1) {input=[2,3,3,8]} : bf16[2,3,3,8]
      %1 = cast(%0) : f32[2,3,3,8]
      %2 = cast(a2) : f32[2,6,6,8]
      %3 = add(%2, a7) : f32[2,6,6,8]
      %4 = batch_norm_inference(%3, a3, a4, a5, a6) : f32[2,6,6,8]
      %5 = relu(%4) : f32[2,6,6,8]
      %6 = max_pool_grad(%1, %5) {window=[2,2], stride=[2,2]} : f32[2,6,6,8]
      %7 = relu_grad(%6, %5) : f32[2,6,6,8]
      %8 = batch_norm_grad(%7, %3, a3, a5, a6) : f32[2,6,6,8], f32[8], f32[8]
      %9 = sum_to(%8.0) {shape=[8]} : f32[8]
      %10 = cast(%8.0) {dtype=bf16} : bf16[2,6,6,8]
      return r0=%10, r1=%8.1, r2=%8.2, r3=%9
    }
  }
  %1 = conv2d_filter_grad(i, %0.0) {filter=[3,3,1,8]} : bf16[3,3,1,8]
  return df=%1, ds=%0.1, do=%0.2, db=%0.3
}
)";
const std::string kBehindJoined =
    R"(function f(i: bf16[2,8,8,1], dy: bf16[2,2,2,8], w: bf16[2,2,8,8], x: bf16[2,6,6,8], s: f32[8], o: f32[8], m: f32[8], v: f32[8], b: f32[8]) {
  %0 = region(i, dy, w, x, s, o, m, v, b) : bf16[3,3,1,8], f32[8], f32[8], f32[8] {
    block(a0: bf16[2,8,8,1], a1: bf16[2,2,2,8], a2: bf16[2,2,8,8], a3: bf16[2,6,6,8], a4: f32[8], a5: f32[8], a6: f32[8], a7: f32[8], a8: f32[8]) {
      %0 = conv2d_input_grad(a1, a2) {input=[2,3,3,8]} : bf16[2,3,3,8]
      %1 = cast(%0) : f32[2,3,3,8]
      %2 = cast(a3) : f32[2,6,6,8]
      %3 = add(%2, a8) : f32[2,6,6,8]
      %4 = batch_norm_inference(%3, a4, a5, a6, a7) : f32[2,6,6,8]
      %5 = relu(%4) : f32[2,6,6,8]
      %6 = max_pool_grad(%1, %5) {window=[2,2], stride=[2,2]} : f32[2,6,6,8]
      %7 = relu_grad(%6, %5) : f32[2,6,6,8]
      %8 = batch_norm_grad(%7, %3, a4, a6, a7) : f32[2,6,6,8], f32[8], f32[8]
      %9 = sum_to(%8.0) {shape=[8]} : f32[8]
      %10 = cast(%8.0) {dtype=bf16} : bf16[2,6,6,8]
      %11 = conv2d_filter_grad(a0, %10) {filter=[3,3,1,8]} : bf16[3,3,1,8]
      return r0=%11, r1=%8.1, r2=%8.2, r3=%9
    }
  }
  return df=%0.0, ds=%0.1, do=%0.2, db=%0.3
}
)";

TEST(NormFilterGrad, WithTheConvolutionBehind) { EXPECT_EQ(run(kBehind), kBehindJoined); }

// A kernel finds what was joined again.
TEST(NormFilterGrad, ComesApart) {
  const auto grad_of = [](const std::string& text) {
    std::shared_ptr<const Block> grad;
    run(text, [&](const KernelRequest& request) {
      const auto found = norm_filter_grad_in(request.region());
      EXPECT_TRUE(found.has_value());
      if (found) grad = found->norm;
      return false;
    });
    return grad;
  };
  const auto alone = grad_of(kHead + kNorm + kFilter + kResults);
  ASSERT_TRUE(alone);
  EXPECT_EQ(signature(*alone), kNormReluGrad);
  const auto behind = grad_of(kBehind);
  ASSERT_TRUE(behind);
  ASSERT_TRUE(conv_norm_grad_in(*behind).has_value());
  EXPECT_EQ(signature_between_casts(*conv_norm_grad_in(*behind)->norm), kBiasNormReluPoolBiasGrad);
}

TEST(NormFilterGrad, OtherRegionsAreNone) {
  for (const std::string& text : {kHead + kNorm + kFilter + kResults, kBehind}) {
    Module module("m");
    const Function& function = parse_function(text, module, standard_ops());
    for (int32_t i = 0; i < static_cast<int32_t>(function.size()); ++i) {
      for (const auto& block : function.node(i).blocks) {
        EXPECT_FALSE(norm_filter_grad_in(*block).has_value());
      }
    }
  }
}

void expect_kept(const std::string& text, const HasKernel& has_kernel = takes_all) {
  EXPECT_EQ(run(text, has_kernel), text);
}

TEST(NormFilterGrad, NeedsAKernel) {
  expect_kept(kHead + kNorm + kFilter + kResults, [](const KernelRequest&) { return false; });
}

TEST(NormFilterGrad, StaysWhereItIsUsedElsewhere) {
  expect_kept(kHead + kNorm + kFilter + "  return df=%1, ds=%0.1, dx=%0.0\n}\n");
  expect_kept(kHead + kNorm + kFilter +
              "  %2 = neg(%0.0) : f32[2,6,7,8]\n  return df=%1, ds=%0.1, z=%2\n}\n");
  const std::string both =
      "  %1 = conv2d_filter_grad(%0.0, %0.0) {filter=[1,1,8,8]} : "
      "f32[1,1,8,8]\n  return df=%1\n}\n";
  expect_kept(kHead + kNorm + both);
}

TEST(NormFilterGrad, StaysWhereItIsTheInput) {
  expect_kept(kHead + kNorm +
              "  %1 = conv2d_filter_grad(%0.0, x) {filter=[1,1,8,8]} : f32[1,1,8,8]\n"
              "  return df=%1, ds=%0.1\n}\n");
}

// The images come later than the other results can wait for.
TEST(NormFilterGrad, StaysWhereTheImagesComeLater) {
  expect_kept(kHead + kNorm +
              "  %1 = neg(i) : f32[2,8,9,1]\n"
              "  %2 = conv2d_filter_grad(%1, %0.0) {filter=[3,3,1,8]} : f32[3,3,1,8]\n"
              "  return df=%2, ds=%0.1\n}\n");
}

// The filter's gradient moves to where the normalisation's is.
TEST(NormFilterGrad, IsBeforeTheOthersUsers) {
  const std::string users =
      "  %1 = neg(%0.1) : f32[8]\n"
      "  %2 = conv2d_filter_grad(i, %0.0) {filter=[3,3,1,8]} : f32[3,3,1,8]\n"
      "  return df=%2, z=%1, do=%0.2\n}\n";
  EXPECT_EQ(run(kHead + kNorm + users), kHead + kJoined +
                                            "  %1 = neg(%0.1) : f32[8]\n"
                                            "  return df=%0.0, z=%1, do=%0.2\n}\n");
}

TEST(NormFilterGrad, StaysBehindOtherRegions) {
  expect_kept(
      R"(function f(i: f32[2,8,9,1], g: f32[2,6,7,8]) {
  %0 = region(g) : f32[2,6,7,8] {
    block(a0: f32[2,6,7,8]) {
      %0 = neg(a0) : f32[2,6,7,8]
      return r0=%0
    }
  }
  %1 = conv2d_filter_grad(i, %0) {filter=[3,3,1,8]} : f32[3,3,1,8]
  return df=%1
}
)");
}

}  // namespace
}  // namespace adjoint::cuda
