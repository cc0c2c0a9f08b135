#include "runtime/executable.h"

#include <gtest/gtest.h>

#include "runtime/cpu/device.h"
#include "runtime/test_ops.h"

namespace adjoint {
namespace {

using namespace test_ops;

const Type kPair{DType::f32, {2}};

Tensor pair(float a, float b) { return Tensor::of<float>({2}, {a, b}); }

TEST(Executable, ThreeNodesEndToEnd) {
  Module module("m");
  const Variable& w = module.variable("w", kPair);
  Function& f = module.function("train");
  const Value x = f.argument("x", kPair);
  const Value sum = add(neg(x), f.read(w));
  f.update(w, sum);
  f.result("y", reverse(sum));
  auto device = cpu::device(1, kernels());
  State state(module, device);
  state.set("w", pair(10, 20));
  Executable train(f, device);
  const Tensors results = train.run(state, {{"x", pair(1, 2)}});
  EXPECT_EQ(results.at("y").values<float>()[0], 18);
  EXPECT_EQ(results.at("y").values<float>()[1], 9);
  EXPECT_EQ(state.get("w").values<float>()[0], 9);
  EXPECT_EQ(state.get("w").values<float>()[1], 18);
}

}  // namespace
}  // namespace adjoint
