#include "runtime/cpu/lowering.h"

#include "graph/passes.h"
#include "runtime/cpu/device.h"
#include "runtime/cpu/fusion.h"
#include "runtime/patterns.h"

namespace adjoint::cpu {

Pipeline lowering_pipeline() {
  Pipeline pipeline;
  pipeline.repeat({norm_relu_grad_pass(), dce_pass(), norm_relu_pass()}, 1)
      .add(decompose_missing_pass(standard_kernels()))
      .add(fusion_pass());
  return pipeline;
}

std::shared_ptr<Device> device(int threads) {
  return device(threads, standard_kernels(), [](const Function& function) {
    return lowering_pipeline().run(function).function;
  });
}

}  // namespace adjoint::cpu
