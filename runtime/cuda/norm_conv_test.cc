// What a convolution reads of batch norm's result, computed on the way in: text in, text out.
#include "runtime/cuda/norm_conv.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "graph/parser.h"
#include "graph/printer.h"
#include "ops/standard_ops.h"
#include "runtime/cuda/conv_moments.h"
#include "runtime/cuda/region_pass_tester.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

std::string run(const std::string& text, const HasKernel& has_kernel = takes_all) {
  return transformed(text, norm_conv_pass(has_kernel));
}

// With a bias each and a pool.
const std::string kHead =
    "function f(x: f32[2,6,6,4], s: f32[4], o: f32[4], m: f32[4], v: f32[4], b: f32[4], "
    "w: f32[2,2,4,8], t: f32[8], p: f32[8], c: f32[8]) {\n";
const std::string kNorm =
    R"(  %0 = region(x, s, o, m, v, b) : f32[2,3,3,4] {
    block(a0: f32[2,6,6,4], a1: f32[4], a2: f32[4], a3: f32[4], a4: f32[4], a5: f32[4]) {
      %0 = add(a0, a5) : f32[2,6,6,4]
      %1 = batch_norm_inference(%0, a1, a2, a3, a4) {epsilon=0.01} : f32[2,6,6,4]
      %2 = relu(%1) : f32[2,6,6,4]
      %3 = max_pool(%2) {window=[2,2], stride=[2,2]} : f32[2,3,3,4]
      return r0=%3
    }
  }
)";
const std::string kConvolution =
    R"(  %1 = region(%0, w, t, p, c) : f32[2,2,2,8], f32[8], f32[8] {
    block(a0: f32[2,3,3,4], a1: f32[2,2,4,8], a2: f32[8], a3: f32[8], a4: f32[8]) {
      %0 = conv2d(a0, a1) : f32[2,2,2,8]
      %1 = add(%0, a4) : f32[2,2,2,8]
      %2 = batch_norm(%1, a2, a3) : f32[2,2,2,8], f32[8], f32[8]
      return r0=%0, r1=%2.1, r2=%2.2
    }
  }
)";
const std::string kJoined =
    R"(  %0 = region(x, s, o, m, v, b, w, t, p, c) : f32[2,3,3,4], f32[2,2,2,8], f32[8], f32[8] {
    block(a0: f32[2,6,6,4], a1: f32[4], a2: f32[4], a3: f32[4], a4: f32[4], a5: f32[4], a6: f32[2,2,4,8], a7: f32[8], a8: f32[8], a9: f32[8]) {
      %0 = add(a0, a5) : f32[2,6,6,4]
      %1 = batch_norm_inference(%0, a1, a2, a3, a4) {epsilon=0.01} : f32[2,6,6,4]
      %2 = relu(%1) : f32[2,6,6,4]
      %3 = max_pool(%2) {window=[2,2], stride=[2,2]} : f32[2,3,3,4]
      %4 = conv2d(%3, a6) : f32[2,2,2,8]
      %5 = add(%4, a9) : f32[2,2,2,8]
      %6 = batch_norm(%5, a7, a8) : f32[2,2,2,8], f32[8], f32[8]
      return r0=%3, r1=%4, r2=%6.1, r3=%6.2
    }
  }
)";
const std::string kResults = "  return y=%1.0, mean=%1.1, variance=%1.2\n}\n";

TEST(NormConv, IsOneRegion) {
  EXPECT_EQ(run(kHead + kNorm + kConvolution + kResults),
            kHead + kJoined + "  return y=%0.1, mean=%0.2, variance=%0.3\n}\n");
}

// Such as the gradient of the filter.
TEST(NormConv, WhatUsesTheNormalisedLaterHasItStill) {
  const std::string later = "  %2 = neg(%0) : f32[2,3,3,4]\n  return y=%1.0, r=%0, z=%2\n}\n";
  EXPECT_EQ(
      run(kHead + kNorm + kConvolution + later),
      kHead + kJoined + "  %1 = neg(%0.0) : f32[2,3,3,4]\n  return y=%0.1, r=%0.0, z=%1\n}\n");
}

TEST(NormConv, StaysWhereTheNormalisedIsUsedEarlier) {
  std::string convolution = kConvolution;
  convolution.replace(0, 6, "  %2 =");
  const std::string text = kHead + kNorm + "  %1 = neg(%0) : f32[2,3,3,4]\n" + convolution +
                           "  return y=%2.0, mean=%2.1, z=%1\n}\n";
  EXPECT_EQ(run(text), text);
}

// Of two the first has it.
TEST(NormConv, IsComputedOnce) {
  std::string second = kConvolution, kept = kConvolution;
  second.replace(0, 6, "  %2 =");
  kept.replace(0, std::string("  %1 = region(%0,").size(), "  %1 = region(%0.0,");
  EXPECT_EQ(run(kHead + kNorm + kConvolution + second + "  return y=%1.0, z=%2.0\n}\n"),
            kHead + kJoined + kept + "  return y=%0.1, z=%1.0\n}\n");
}

// The normalised is what is convolved, and nothing else.
TEST(NormConv, StaysWhereItIsTheFilter) {
  const std::string text =
      R"(function f(x: f32[2,2,4,8], s: f32[8], o: f32[8], m: f32[8], v: f32[8], i: f32[2,3,3,4]) {
  %0 = region(x, s, o, m, v) : f32[2,2,4,8] {
    block(a0: f32[2,2,4,8], a1: f32[8], a2: f32[8], a3: f32[8], a4: f32[8]) {
      %0 = batch_norm_inference(a0, a1, a2, a3, a4) : f32[2,2,4,8]
      %1 = relu(%0) : f32[2,2,4,8]
      return r0=%1
    }
  }
  %1 = region(i, %0, s, o) : f32[2,2,2,8], f32[8], f32[8] {
    block(a0: f32[2,3,3,4], a1: f32[2,2,4,8], a2: f32[8], a3: f32[8]) {
      %0 = conv2d(a0, a1) : f32[2,2,2,8]
      %1 = batch_norm(%0, a2, a3) : f32[2,2,2,8], f32[8], f32[8]
      return r0=%0, r1=%1.1, r2=%1.2
    }
  }
  return y=%1.0, mean=%1.1, variance=%1.2
}
)";
  EXPECT_EQ(run(text), text);
}

TEST(NormConv, NeedsAKernel) {
  const auto takes_none = [](const KernelRequest&) { return false; };
  const std::string text = kHead + kNorm + kConvolution + kResults;
  EXPECT_EQ(run(text, takes_none), text);
}

// Without biases and a pool, in bf16, and with a filter that is turned.
const std::string kTurned =
    R"(function f(x: bf16[2,3,3,8], s: f32[8], o: f32[8], m: f32[8], v: f32[8], w: bf16[8,2,2,8]) {
  %0 = region(x, s, o, m, v) : bf16[2,3,3,8] {
    block(a0: bf16[2,3,3,8], a1: f32[8], a2: f32[8], a3: f32[8], a4: f32[8]) {
      %0 = cast(a0) : f32[2,3,3,8]
      %1 = batch_norm_inference(%0, a1, a2, a3, a4) : f32[2,3,3,8]
      %2 = relu(%1) : f32[2,3,3,8]
      %3 = cast(%2) {dtype=bf16} : bf16[2,3,3,8]
      return r0=%3
    }
  }
  %1 = region(%0, w, o, s) : bf16[2,2,2,8], f32[8], f32[8] {
    block(a0: bf16[2,3,3,8], a1: bf16[8,2,2,8], a2: f32[8], a3: f32[8]) {
      %0 = transpose(a1) {permutation=[1,2,3,0]} : bf16[2,2,8,8]
      %1 = conv2d(a0, %0) : bf16[2,2,2,8]
      %2 = cast(%1) : f32[2,2,2,8]
      %3 = batch_norm(%2, a2, a3) : f32[2,2,2,8], f32[8], f32[8]
      return r0=%1, r1=%3.1, r2=%3.2
    }
  }
  return y=%1.0, mean=%1.1, variance=%1.2
}
)";

// The region's operands are not told apart where both read the same vectors.
TEST(NormConv, StaysWhereTheTwoShareOperands) { EXPECT_EQ(run(kTurned), kTurned); }

std::string with_vectors_of_its_own() {
  std::string text = kTurned;
  const std::string arguments = "w: bf16[8,2,2,8])", operands = "(%0, w, o, s)";
  text.replace(text.find(arguments), arguments.size(), "w: bf16[8,2,2,8], t: f32[8], p: f32[8])");
  return text.replace(text.find(operands), operands.size(), "(%0, w, t, p)");
}

// A kernel finds the two again that were joined.
TEST(NormConv, ComesApart) {
  const auto parts_of = [](const std::string& text) {
    std::vector<std::string> parts;
    run(text, [&](const KernelRequest& request) {
      const auto found = norm_conv_in(request.region());
      EXPECT_TRUE(found.has_value());
      if (!found) return false;
      const auto moments = conv_moments_in(*found->convolution);
      EXPECT_TRUE(moments.has_value());
      parts = {signature_between_casts(*found->norm), moments->is_turned ? "turned" : "straight",
               moments->has_bias ? "bias" : "none"};
      return false;
    });
    return parts;
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(parts_of(kHead + kNorm + kConvolution + kResults),
            (Texts{kBiasInferenceNormReluPool, "straight", "bias"}));
  EXPECT_EQ(parts_of(with_vectors_of_its_own()), (Texts{kInferenceNormRelu, "turned", "none"}));
}

// The two by themselves, and others that are joined: without relu, and with a bias that is left
// out.
TEST(NormConv, OtherRegionsAreNone) {
  const auto joined_with = [](const std::string& old, const std::string& fresh) {
    std::string text = kHead + kJoined + "  return y=%0.1\n}\n";
    return text.replace(text.find(old), old.size(), fresh);
  };
  for (const std::string& text :
       {kTurned, kHead + kNorm + kConvolution + kResults, joined_with("relu", "neg"),
        joined_with("batch_norm(%5", "batch_norm(%4")}) {
    Module module("m");
    const Function& function = parse_function(text, module, standard_ops());
    for (int32_t i = 0; i < static_cast<int32_t>(function.size()); ++i) {
      for (const auto& block : function.node(i).blocks) {
        EXPECT_FALSE(norm_conv_in(*block).has_value());
      }
    }
  }
}

TEST(NormConv, ItsOriginIsTheUsersLines) {
  std::string text = kHead + kNorm + kConvolution + kResults;
  const auto say = [&](const std::string& line, const std::string& where) {
    text.replace(text.find(line), line.size(), line + where);
  };
  say("region(x, s, o, m, v, b) : f32[2,3,3,4]", R"( @at("model.cc":1))");
  say("region(%0, w, t, p, c) : f32[2,2,2,8], f32[8], f32[8]", R"( @at("model.cc":2))");
  Module module("m");
  const Function& function = parse_function(text, module, standard_ops());
  const std::optional<Rewritten> result = norm_conv_pass(takes_all).run(function);
  ASSERT_TRUE(result.has_value());
  for (int32_t i = 0; i < static_cast<int32_t>(result->function->size()); ++i) {
    const Node& node = result->function->node(i);
    if (!node.blocks.empty()) {
      EXPECT_EQ(to_text(node.origin), R"( @at("model.cc":1) @at("model.cc":2))");
    }
  }
}

}  // namespace
}  // namespace adjoint::cuda
