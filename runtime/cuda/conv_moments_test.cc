// Convolutions that take the moments of batch norm: text in, text out.
#include "runtime/cuda/conv_moments.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "graph/parser.h"
#include "graph/printer.h"
#include "ops/standard_ops.h"
#include "runtime/cuda/region_pass_tester.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

std::string run(const std::string& text, const HasKernel& has_kernel = takes_all) {
  return transformed(text, conv_moments_pass(has_kernel));
}

const std::string kPooled =
    R"(function f(x: f32[2,6,6,1], w: f32[3,3,1,4], s: f32[4], o: f32[4], b: f32[4]) {
  %0 = conv2d(x, w) : f32[2,4,4,4]
  %1 = region(%0, s, o, b) : f32[2,2,2,4], f32[4], f32[4] {
    block(a0: f32[2,4,4,4], a1: f32[4], a2: f32[4], a3: f32[4]) {
      %0 = add(a0, a3) : f32[2,4,4,4]
      %1 = batch_norm(%0, a1, a2) {epsilon=0.01} : f32[2,4,4,4], f32[4], f32[4]
      %2 = relu(%1.0) : f32[2,4,4,4]
      %3 = max_pool(%2) {window=[2,2], stride=[2,2]} : f32[2,2,2,4]
      return r0=%3, r1=%1.1, r2=%1.2
    }
  }
)";
const std::string kPooledSplit =
    R"(function f(x: f32[2,6,6,1], w: f32[3,3,1,4], s: f32[4], o: f32[4], b: f32[4]) {
  %0 = region(x, w, s, o, b) : f32[2,4,4,4], f32[4], f32[4] {
    block(a0: f32[2,6,6,1], a1: f32[3,3,1,4], a2: f32[4], a3: f32[4], a4: f32[4]) {
      %0 = conv2d(a0, a1) : f32[2,4,4,4]
      %1 = add(%0, a4) : f32[2,4,4,4]
      %2 = batch_norm(%1, a2, a3) {epsilon=0.01} : f32[2,4,4,4], f32[4], f32[4]
      return r0=%0, r1=%2.1, r2=%2.2
    }
  }
  %1 = region(%0.0, s, o, %0.1, %0.2, b) : f32[2,2,2,4] {
    block(a0: f32[2,4,4,4], a1: f32[4], a2: f32[4], a3: f32[4], a4: f32[4], a5: f32[4]) {
      %0 = add(a0, a5) : f32[2,4,4,4]
      %1 = batch_norm_inference(%0, a1, a2, a3, a4) {epsilon=0.01} : f32[2,4,4,4]
      %2 = relu(%1) : f32[2,4,4,4]
      %3 = max_pool(%2) {window=[2,2], stride=[2,2]} : f32[2,2,2,4]
      return r0=%3
    }
  }
)";

TEST(ConvMoments, AreTakenByTheConvolution) {
  EXPECT_EQ(run(kPooled + "  return h=%1.0, mean=%1.1, variance=%1.2\n}\n"),
            kPooledSplit + "  return h=%1, mean=%0.1, variance=%0.2\n}\n");
}

TEST(ConvMoments, WhatUsesYLaterHasItStill) {
  EXPECT_EQ(run(kPooled + "  %2 = neg(%0) : f32[2,4,4,4]\n  return h=%1.0, y=%0, z=%2\n}\n"),
            kPooledSplit + "  %2 = neg(%0.0) : f32[2,4,4,4]\n  return h=%1, y=%0.0, z=%2\n}\n");
}

TEST(ConvMoments, OfWhatIsStoredInBf16AndATurnedFilter) {
  EXPECT_EQ(run(R"(function f(x: bf16[2,6,6,8], w: bf16[8,3,3,8], s: f32[8], o: f32[8]) {
  %0 = region(x, w) : bf16[2,4,4,8] {
    block(a0: bf16[2,6,6,8], a1: bf16[8,3,3,8]) {
      %0 = transpose(a1) {permutation=[1,2,3,0]} : bf16[3,3,8,8]
      %1 = conv2d(a0, %0) : bf16[2,4,4,8]
      return r0=%1
    }
  }
  %1 = region(%0, s, o) : bf16[2,4,4,8], f32[8], f32[8] {
    block(a0: bf16[2,4,4,8], a1: f32[8], a2: f32[8]) {
      %0 = cast(a0) : f32[2,4,4,8]
      %1 = batch_norm(%0, a1, a2) : f32[2,4,4,8], f32[8], f32[8]
      %2 = relu(%1.0) : f32[2,4,4,8]
      %3 = cast(%2) {dtype=bf16} : bf16[2,4,4,8]
      return r0=%3, r1=%1.1, r2=%1.2
    }
  }
  return h=%1.0, mean=%1.1, variance=%1.2
}
)"),
            R"(function f(x: bf16[2,6,6,8], w: bf16[8,3,3,8], s: f32[8], o: f32[8]) {
  %0 = region(x, w, s, o) : bf16[2,4,4,8], f32[8], f32[8] {
    block(a0: bf16[2,6,6,8], a1: bf16[8,3,3,8], a2: f32[8], a3: f32[8]) {
      %0 = transpose(a1) {permutation=[1,2,3,0]} : bf16[3,3,8,8]
      %1 = conv2d(a0, %0) : bf16[2,4,4,8]
      %2 = cast(%1) : f32[2,4,4,8]
      %3 = batch_norm(%2, a2, a3) : f32[2,4,4,8], f32[8], f32[8]
      return r0=%1, r1=%3.1, r2=%3.2
    }
  }
  %1 = region(%0.0, s, o, %0.1, %0.2) : bf16[2,4,4,8] {
    block(a0: bf16[2,4,4,8], a1: f32[8], a2: f32[8], a3: f32[8], a4: f32[8]) {
      %0 = cast(a0) : f32[2,4,4,8]
      %1 = batch_norm_inference(%0, a1, a2, a3, a4) : f32[2,4,4,8]
      %2 = relu(%1) : f32[2,4,4,8]
      %3 = cast(%2) {dtype=bf16} : bf16[2,4,4,8]
      return r0=%3
    }
  }
  return h=%1, mean=%0.1, variance=%0.2
}
)");
}

TEST(ConvMoments, TheRegionsHaveTheSignaturesThatKernelsKnow) {
  std::vector<std::string> seen;
  run(kPooled + "  return h=%1.0\n}\n", [&](const KernelRequest& request) {
    const auto moments = conv_moments_in(request.region());
    EXPECT_EQ(moments.has_value(), seen.empty());
    if (moments) {
      EXPECT_FALSE(moments->is_turned);
      EXPECT_TRUE(moments->has_bias);
    }
    seen.push_back(signature_between_casts(request.region()));
    return true;
  });
  ASSERT_EQ(seen.size(), 2);
  EXPECT_EQ(seen[1], kBiasInferenceNormReluPool);
}

TEST(ConvMoments, NeedsAKernelForEach) {
  const std::string text = kPooled + "  return h=%1.0, mean=%1.1\n}\n";
  EXPECT_EQ(run(text, [](const KernelRequest&) { return false; }), text);
  for (const bool first : {true, false}) {
    EXPECT_EQ(run(text,
                  [&](const KernelRequest& request) {
                    return conv_moments_in(request.region()).has_value() == first;
                  }),
              text);
  }
}

// What comes between would need y before there is a scale and an offset.
TEST(ConvMoments, StayWhereYIsUsedBefore) {
  std::string text = kPooled + "  return h=%1.0, mean=%1.1\n}\n";
  const std::string before = "  %1 = region(%0, s, o, b)";
  const size_t at = text.find(before);
  text.replace(at, before.size(), "  %1 = neg(%0) : f32[2,4,4,4]\n  %2 = region(%0, s, o, b)");
  const size_t results = text.find("  return h=");
  text.replace(results, text.npos, "  return h=%2.0, mean=%2.1, z=%1\n}\n");
  EXPECT_EQ(run(text), text);
}

TEST(ConvMoments, GoToTheFirstOfTwoNormalisations) {
  const size_t at = kPooled.find("  %1 = region");
  std::string second = kPooled.substr(at);
  second.replace(0, 5, "  %2 ");
  EXPECT_EQ(run(kPooled + second + "  return h=%1.0, k=%2.0, mean=%2.1\n}\n"),
            kPooledSplit + std::string(second).replace(second.find("%0, s"), 2, "%0.0") +
                "  return h=%1, k=%2.0, mean=%2.1\n}\n");
}

TEST(ConvMoments, StayWhereNoRegionNormalises) {
  const char* plain = R"(function f(x: f32[2,6,6,1], w: f32[3,3,1,4], s: f32[4], o: f32[4]) {
  %0 = conv2d(x, w) : f32[2,4,4,4]
  %1 = batch_norm(%0, s, o) : f32[2,4,4,4], f32[4], f32[4]
  return y=%1.0, mean=%1.1
}
)";
  EXPECT_EQ(run(plain), plain);
  const std::string fed = R"(function f(x: f32[2,4], s: f32[4], o: f32[4]) {
  %0 = neg(x) : f32[2,4]
  %1 = region(%0, s, o) : f32[2,4], f32[4], f32[4] {
    block(a0: f32[2,4], a1: f32[4], a2: f32[4]) {
      %0 = batch_norm(a0, a1, a2) : f32[2,4], f32[4], f32[4]
      %1 = relu(%0.0) : f32[2,4]
      return r0=%1, r1=%0.1, r2=%0.2
    }
  }
  return h=%1.0, mean=%1.1
}
)";
  EXPECT_EQ(run(fed), fed);
}

TEST(ConvMoments, TheirOriginsAreTheUsersLines) {
  std::string text = kPooled + "  return h=%1.0, mean=%1.1\n}\n";
  const auto say = [&](const std::string& line, const std::string& where) {
    text.replace(text.find(line), line.size(), line + where);
  };
  say("%0 = conv2d(x, w) : f32[2,4,4,4]", R"( @at("model.cc":1))");
  say("%1 = region(%0, s, o, b) : f32[2,2,2,4], f32[4], f32[4]", R"( @at("model.cc":2))");
  Module module("m");
  const Function& function = parse_function(text, module, standard_ops());
  const std::optional<Rewritten> result = conv_moments_pass(takes_all).run(function);
  ASSERT_TRUE(result.has_value());
  std::vector<std::string> origins;
  for (int32_t i = 0; i < static_cast<int32_t>(result->function->size()); ++i) {
    const Node& node = result->function->node(i);
    if (!node.blocks.empty()) origins.push_back(to_text(node.origin));
  }
  EXPECT_EQ(origins, (std::vector<std::string>{R"( @at("model.cc":1) @at("model.cc":2))",
                                               R"( @at("model.cc":2))"}));
}

}  // namespace
}  // namespace adjoint::cuda
