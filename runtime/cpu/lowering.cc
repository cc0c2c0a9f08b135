#include "runtime/cpu/lowering.h"

#include "graph/passes.h"
#include "runtime/cpu/device.h"
#include "runtime/cpu/kernels/region/region_ops.h"
#include "runtime/fusion.h"
#include "runtime/missing_kernels.h"
#include "runtime/patterns.h"

namespace adjoint::cpu {

Pipeline lowering_pipeline() {
  Pipeline pipeline;
  pipeline.repeat({norm_relu_grad_pass(), dce_pass(), norm_relu_pass()}, 1)
      .add(decompose_missing_pass([table = standard_kernels()](const KernelRequest& request) {
        return choose(table, request) != nullptr;
      }))
      .add(fusion_pass({.role = region_role}));
  return pipeline;
}

std::shared_ptr<Device> device(int threads) {
  return device(threads, standard_kernels(), [](const Function& function) {
    return lowering_pipeline().run(function).function;
  });
}

}  // namespace adjoint::cpu
