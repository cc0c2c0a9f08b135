#include "runtime/profiler.h"

#include <gtest/gtest.h>

namespace adjoint {
namespace {

TEST(Profiler, SumsPerKernelSlowestFirst) {
  Profiler profiler;
  profiler.add({.kernel = "a.add", .flops = 1e6, .bytes = 2e6}, 0.001);
  profiler.add({.kernel = "b.mul"}, 0.005);
  profiler.add({.kernel = "a.add", .flops = 1e6, .bytes = 2e6}, 0.001);
  EXPECT_EQ(profiler.entries().at("a.add").calls, 2);
  EXPECT_DOUBLE_EQ(profiler.seconds(), 0.007);
  const std::string text = profiler.to_text();
  EXPECT_LT(text.find("b.mul"), text.find("a.add"));
  EXPECT_NE(text.find("71.4%"), std::string::npos);
  EXPECT_NE(text.find("1.0       2.0"), std::string::npos) << text;
}

}  // namespace
}  // namespace adjoint
