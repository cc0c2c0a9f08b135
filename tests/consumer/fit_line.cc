// Fits y = 3x + 1 by gradient descent, with nothing but the target @adjoint//:adjoint. Exits with 1
// if the fit is bad.
#include <cmath>
#include <cstdio>
#include <memory>

#include "autodiff/gradients.h"
#include "graph/module.h"
#include "ops/elementwise.h"
#include "ops/loss.h"
#include "runtime/cpu/device.h"
#include "runtime/executable.h"
#include "runtime/state.h"

using namespace adjoint;

int main() {
  Module module("line");
  const Variable& slope = module.variable("slope", {DType::f32, {}});
  const Variable& offset = module.variable("offset", {DType::f32, {}});
  Function& step = module.function("step");
  const Type points{DType::f32, {Dim::symbol("points")}};
  const Value x = step.argument("x", points);
  const Value y = step.argument("y", points);
  const Value a = step.read(slope);
  const Value b = step.read(offset);
  const Value loss = mean_squared_error(a * x + b, y);
  const auto gradient = gradients({loss}, {a, b});
  step.update(slope, a - 0.3 * gradient[0]);
  step.update(offset, b - 0.3 * gradient[1]);
  step.result("loss", loss);

  const std::shared_ptr<Device> device = cpu::device(1);
  State state(module, device);
  Executable run(step, device);
  const Tensor xs = Tensor::of<float>({4}, {-1, 0, 1, 2});
  const Tensor ys = Tensor::of<float>({4}, {-2, 1, 4, 7});
  for (int i = 0; i < 100; ++i) run.run(state, {{"x", xs}, {"y", ys}});

  const float fitted_slope = state.get("slope").item<float>();
  const float fitted_offset = state.get("offset").item<float>();
  std::printf("y = %.4f x + %.4f\n", fitted_slope, fitted_offset);
  return std::abs(fitted_slope - 3) < 1e-3 && std::abs(fitted_offset - 1) < 1e-3 ? 0 : 1;
}
