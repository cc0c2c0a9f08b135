#include "runtime/optimize.h"

#include "graph/passes.h"
#include "ops/rewrites/identities.h"
#include "runtime/cpu/evaluate.h"

namespace adjoint {

Pipeline standard_pipeline() {
  constexpr int kMaxRounds = 8;
  Pipeline pipeline;
  pipeline.repeat({fold_pass(cpu::evaluator(cpu::standard_kernels())), cse_pass(),
                   identities_pass(), dce_pass()},
                  kMaxRounds);
  return pipeline;
}

Pipeline::Result optimize(const Function& function) { return standard_pipeline().run(function); }

}  // namespace adjoint
