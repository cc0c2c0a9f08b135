// The sums of batch norm's gradient, taken by the convolution behind: text in, text out.
#include "runtime/cuda/conv_norm_grad.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "graph/parser.h"
#include "graph/printer.h"
#include "ops/standard_ops.h"
#include "runtime/cuda/filter_layout.h"
#include "runtime/cuda/region_pass_tester.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

std::string run(const std::string& text, const HasKernel& has_kernel = takes_all) {
  return transformed(text, conv_norm_grad_pass(has_kernel));
}

// With a bias, a pool and the bias's gradient.
const std::string kPooled =
    R"(function f(dy: f32[2,2,2,8], w: f32[2,2,4,8], x: f32[2,6,6,4], s: f32[4], o: f32[4], m: f32[4], v: f32[4], b: f32[4]) {
  %0 = conv2d_input_grad(dy, w) {input=[2,3,3,4]} : f32[2,3,3,4]
  %1 = region(%0, x, s, o, m, v, b) : f32[2,6,6,4], f32[4], f32[4], f32[4] {
    block(a0: f32[2,3,3,4], a1: f32[2,6,6,4], a2: f32[4], a3: f32[4], a4: f32[4], a5: f32[4], a6: f32[4]) {
      %0 = add(a1, a6) : f32[2,6,6,4]
      %1 = batch_norm_inference(%0, a2, a3, a4, a5) {epsilon=0.01} : f32[2,6,6,4]
      %2 = relu(%1) : f32[2,6,6,4]
      %3 = max_pool_grad(a0, %2) {window=[2,2], stride=[2,2]} : f32[2,6,6,4]
      %4 = relu_grad(%3, %2) : f32[2,6,6,4]
      %5 = batch_norm_grad(%4, %0, a2, a4, a5) {epsilon=0.01} : f32[2,6,6,4], f32[4], f32[4]
      %6 = sum_to(%5.0) {shape=[4]} : f32[4]
      return r0=%5.0, r1=%5.1, r2=%5.2, r3=%6
    }
  }
)";
const std::string kPooledJoined =
    R"(function f(dy: f32[2,2,2,8], w: f32[2,2,4,8], x: f32[2,6,6,4], s: f32[4], o: f32[4], m: f32[4], v: f32[4], b: f32[4]) {
  %0 = region(dy, w, x, s, o, m, v, b) : f32[2,6,6,4], f32[4], f32[4], f32[4] {
    block(a0: f32[2,2,2,8], a1: f32[2,2,4,8], a2: f32[2,6,6,4], a3: f32[4], a4: f32[4], a5: f32[4], a6: f32[4], a7: f32[4]) {
      %0 = conv2d_input_grad(a0, a1) {input=[2,3,3,4]} : f32[2,3,3,4]
      %1 = add(a2, a7) : f32[2,6,6,4]
      %2 = batch_norm_inference(%1, a3, a4, a5, a6) {epsilon=0.01} : f32[2,6,6,4]
      %3 = relu(%2) : f32[2,6,6,4]
      %4 = max_pool_grad(%0, %3) {window=[2,2], stride=[2,2]} : f32[2,6,6,4]
      %5 = relu_grad(%4, %3) : f32[2,6,6,4]
      %6 = batch_norm_grad(%5, %1, a3, a5, a6) {epsilon=0.01} : f32[2,6,6,4], f32[4], f32[4]
      %7 = sum_to(%6.0) {shape=[4]} : f32[4]
      return r0=%6.0, r1=%6.1, r2=%6.2, r3=%7
    }
  }
)";
const std::string kPooledResults = "  return dx=%1.0, ds=%1.1, do=%1.2, db=%1.3\n}\n";

TEST(ConvNormGrad, IsOneRegion) {
  EXPECT_EQ(run(kPooled + kPooledResults),
            kPooledJoined + "  return dx=%0.0, ds=%0.1, do=%0.2, db=%0.3\n}\n");
}

// Without a pool, in bf16, and with a filter that is turned.
const std::string kTurned =
    R"(function f(dy: bf16[2,2,2,8], w: bf16[8,2,2,8], x: bf16[2,3,3,8], s: f32[8], o: f32[8], m: f32[8], v: f32[8]) {
  %0 = region(dy, w) : bf16[2,3,3,8] {
    block(a0: bf16[2,2,2,8], a1: bf16[8,2,2,8]) {
      %0 = transpose(a1) {permutation=[1,2,3,0]} : bf16[2,2,8,8]
      %1 = conv2d_input_grad(a0, %0) {input=[2,3,3,8]} : bf16[2,3,3,8]
      return r0=%1
    }
  }
  %1 = region(%0, x, s, o, m, v) : bf16[2,3,3,8], f32[8], f32[8] {
    block(a0: bf16[2,3,3,8], a1: bf16[2,3,3,8], a2: f32[8], a3: f32[8], a4: f32[8], a5: f32[8]) {
      %0 = cast(a0) : f32[2,3,3,8]
      %1 = cast(a1) : f32[2,3,3,8]
      %2 = batch_norm_inference(%1, a2, a3, a4, a5) : f32[2,3,3,8]
      %3 = relu(%2) : f32[2,3,3,8]
      %4 = relu_grad(%0, %3) : f32[2,3,3,8]
      %5 = batch_norm_grad(%4, %1, a2, a4, a5) : f32[2,3,3,8], f32[8], f32[8]
      %6 = cast(%5.0) {dtype=bf16} : bf16[2,3,3,8]
      return r0=%6, r1=%5.1, r2=%5.2
    }
  }
  return dx=%1.0, ds=%1.1, do=%1.2
}
)";
const std::string kTurnedJoined =
    R"(function f(dy: bf16[2,2,2,8], w: bf16[8,2,2,8], x: bf16[2,3,3,8], s: f32[8], o: f32[8], m: f32[8], v: f32[8]) {
  %0 = region(dy, w, x, s, o, m, v) : bf16[2,3,3,8], f32[8], f32[8] {
    block(a0: bf16[2,2,2,8], a1: bf16[8,2,2,8], a2: bf16[2,3,3,8], a3: f32[8], a4: f32[8], a5: f32[8], a6: f32[8]) {
      %0 = transpose(a1) {permutation=[1,2,3,0]} : bf16[2,2,8,8]
      %1 = conv2d_input_grad(a0, %0) {input=[2,3,3,8]} : bf16[2,3,3,8]
      %2 = cast(%1) : f32[2,3,3,8]
      %3 = cast(a2) : f32[2,3,3,8]
      %4 = batch_norm_inference(%3, a3, a4, a5, a6) : f32[2,3,3,8]
      %5 = relu(%4) : f32[2,3,3,8]
      %6 = relu_grad(%2, %5) : f32[2,3,3,8]
      %7 = batch_norm_grad(%6, %3, a3, a5, a6) : f32[2,3,3,8], f32[8], f32[8]
      %8 = cast(%7.0) {dtype=bf16} : bf16[2,3,3,8]
      return r0=%8, r1=%7.1, r2=%7.2
    }
  }
  return dx=%0.0, ds=%0.1, do=%0.2
}
)";

TEST(ConvNormGrad, OfWhatIsStoredInBf16AndATurnedFilter) { EXPECT_EQ(run(kTurned), kTurnedJoined); }

// A kernel finds the two again that were joined.
TEST(ConvNormGrad, ComesApart) {
  const auto parts_of = [](const std::string& text) {
    std::vector<std::string> parts;
    run(text, [&](const KernelRequest& request) {
      const auto found = conv_norm_grad_in(request.region());
      EXPECT_TRUE(found.has_value());
      if (found) parts = {signature(*found->convolution), signature_between_casts(*found->norm)};
      return false;
    });
    return parts;
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(parts_of(kPooled + kPooledResults),
            (Texts{"conv2d_input_grad(a0,a1)->0.0", kBiasNormReluPoolBiasGrad}));
  EXPECT_EQ(parts_of(kTurned), (Texts{kTurnedConvInputGrad, kNormReluGrad}));
}

TEST(ConvNormGrad, OtherRegionsAreNone) {
  for (const std::string& text : {kTurned, kPooled + kPooledResults}) {
    Module module("m");
    const Function& function = parse_function(text, module, standard_ops());
    for (int32_t i = 0; i < static_cast<int32_t>(function.size()); ++i) {
      for (const auto& block : function.node(i).blocks) {
        EXPECT_FALSE(conv_norm_grad_in(*block).has_value());
      }
    }
  }
}

TEST(ConvNormGrad, NeedsAKernel) {
  const auto takes_none = [](const KernelRequest&) { return false; };
  EXPECT_EQ(run(kPooled + kPooledResults, takes_none), kPooled + kPooledResults);
}

TEST(ConvNormGrad, StaysWhereTheInputsGradientIsUsedElsewhere) {
  const std::string results =
      "  %2 = neg(%0) : f32[2,3,3,4]\n  return dx=%1.0, ds=%1.1, do=%1.2, z=%2\n}\n";
  EXPECT_EQ(run(kPooled + results), kPooled + results);
  const std::string result = "  return dx=%1.0, ds=%1.1, do=%1.2, g=%0\n}\n";
  EXPECT_EQ(run(kPooled + result), kPooled + result);
}

// What comes between the two does not keep them apart.
TEST(ConvNormGrad, MovesTheConvolution) {
  std::string text = kPooled;
  const std::string before = "  %1 = region(%0, x";
  text.replace(text.find(before), before.size(),
               "  %1 = neg(dy) : f32[2,2,2,8]\n  %2 = region(%0, x");
  std::string want = kPooledJoined;
  const std::string joined = "  %0 = region(dy";
  want.replace(want.find(joined), joined.size(), "  %0 = neg(dy) : f32[2,2,2,8]\n  %1 = region(dy");
  EXPECT_EQ(run(text + "  return dx=%2.0, ds=%2.1, z=%1\n}\n"),
            want + "  return dx=%1.0, ds=%1.1, z=%0\n}\n");
}

TEST(ConvNormGrad, StaysWhereSomethingElseIsNormalised) {
  const std::string plain =
      R"(function f(dy: f32[2,2,2,8], w: f32[2,2,4,8], g: f32[2,3,3,4], s: f32[4], o: f32[4], m: f32[4], v: f32[4]) {
  %0 = conv2d_input_grad(dy, w) {input=[2,3,3,4]} : f32[2,3,3,4]
  %1 = region(g, %0, s, o, m, v) : f32[2,3,3,4], f32[4], f32[4] {
    block(a0: f32[2,3,3,4], a1: f32[2,3,3,4], a2: f32[4], a3: f32[4], a4: f32[4], a5: f32[4]) {
      %0 = batch_norm_inference(a1, a2, a3, a4, a5) : f32[2,3,3,4]
      %1 = relu(%0) : f32[2,3,3,4]
      %2 = relu_grad(a0, %1) : f32[2,3,3,4]
      %3 = batch_norm_grad(%2, a1, a2, a4, a5) : f32[2,3,3,4], f32[4], f32[4]
      return r0=%3.0, r1=%3.1, r2=%3.2
    }
  }
  return dx=%1.0, ds=%1.1, do=%1.2
}
)";
  EXPECT_EQ(run(plain), plain);
}

TEST(ConvNormGrad, ItsOriginIsTheUsersLines) {
  std::string text = kPooled + kPooledResults;
  const auto say = [&](const std::string& line, const std::string& where) {
    text.replace(text.find(line), line.size(), line + where);
  };
  say("{input=[2,3,3,4]} : f32[2,3,3,4]", R"( @at("model.cc":2))");
  say("region(%0, x, s, o, m, v, b) : f32[2,6,6,4], f32[4], f32[4], f32[4]",
      R"( @at("model.cc":1))");
  Module module("m");
  const Function& function = parse_function(text, module, standard_ops());
  const std::optional<Rewritten> result = conv_norm_grad_pass(takes_all).run(function);
  ASSERT_TRUE(result.has_value());
  for (int32_t i = 0; i < static_cast<int32_t>(result->function->size()); ++i) {
    const Node& node = result->function->node(i);
    if (!node.blocks.empty()) {
      EXPECT_EQ(to_text(node.origin), R"( @at("model.cc":2) @at("model.cc":1))");
    }
  }
}

}  // namespace
}  // namespace adjoint::cuda
