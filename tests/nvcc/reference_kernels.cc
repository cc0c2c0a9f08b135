// Prints the generated kernels of the reference network as one CUDA source, for nvcc to judge.
//
//   reference_kernels > kernels.cu
//
// They are what the functions' plans ask for, training and evaluation, of the usual batches and of
// the last ones. The plans are made on the test double: sources do not depend on the GPU.
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "examples/mnist/model.h"
#include "runtime/cuda/codegen/generate.h"
#include "runtime/cuda/device.h"
#include "runtime/optimize.h"
#include "runtime/planner.h"
#include "runtime/precision.h"
#include "tests/fake_cuda/fake_cuda.h"

namespace adjoint::mnist {
namespace {

class Collector {
 public:
  void add(const Function& function, const DimBindings& bindings) {
    const Plan plan = make_plan(function, bindings, *device_);
    for (const Launch& launch : plan.launches) {
      if (launch.is_copy()) continue;
      const KernelRequest request = make_request(*plan.function, launch.node);
      if (launch.provider() != "adjoint" || !cuda::can_generate(request)) continue;
      cuda::GeneratedKernel kernel = cuda::generate(request).kernel;
      if (seen_.insert(kernel.name).second) kernels_.push_back(std::move(kernel));
    }
  }
  const std::vector<cuda::GeneratedKernel>& kernels() const { return kernels_; }

 private:
  std::shared_ptr<Device> device_ = cuda::device({.autotune = false, .kernel_cache = ""});
  std::set<std::string> seen_;
  std::vector<cuda::GeneratedKernel> kernels_;
};

std::string source() {
  fake_cuda::reset();
  const MnistModel model({.network = "cnn"});
  Collector collector;
  for (Precision precision : {Precision::f32, Precision::bf16}) {
    auto add = [&](const Function& function, const DimBindings& bindings) {
      const auto optimized = optimize(function);
      collector.add(*apply_precision(*optimized.function, precision).function, bindings);
    };
    add(model.initialize(), {});
    for (int64_t batch : {128, 96}) add(model.train(), {{"batch", batch}, {"train_count", 60000}});
    add(model.evaluate(), {{"batch", 1000}, {"test_count", 10000}});
    for (int64_t batch : {1, 128}) add(model.predict(), {{"batch", batch}});
  }
  return cuda::program_source(collector.kernels());
}

}  // namespace
}  // namespace adjoint::mnist

int main() { std::fputs(adjoint::mnist::source().c_str(), stdout); }
