// The gradient graph of every case on the GPU runtime against the naive oracle, in double and in
// float: run eagerly and as a captured graph. On the test double as on a GPU.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "autodiff/gradients.h"
#include "runtime/cuda/device.h"
#include "runtime/executable.h"
#include "runtime/plan_verifier.h"
#include "tests/harness/differences.h"
#include "tests/harness/gpu.h"
#include "tests/harness/interpreter.h"

namespace adjoint::testing {
namespace {

std::string numbered(size_t part, char kind, size_t index) {
  return std::to_string(part) + "/" + kind + std::to_string(index);
}

// The gradients of all cases of an op as one function: planned and compiled at once. Case k has the
// arguments "k/x0" ..., the cotangents "k/u0" ... and the results "k/g0" ...
class CombinedGradients {
 public:
  struct Part {
    const OpCase* op_case;
    DType dtype;
    GradientGraph graph;  // the case by itself, for the oracle
  };

  explicit CombinedGradients(const std::string& op) : function_(module_.function("f")) {
    for (const OpCase& op_case : all_cases()) {
      if (op_case.op != op || !op_case.gradient) continue;
      add(op_case, DType::f64);
      if (!op_case.fixed) add(op_case, DType::f32);
    }
  }

  const Module& module() const { return module_; }
  const Function& function() const { return function_; }
  const std::vector<Part>& parts() const { return parts_; }

 private:
  void add(const OpCase& op_case, DType dtype) {
    const size_t part = parts_.size();
    Part added{&op_case, dtype, build_gradient(op_case, dtype, op_case.batch)};
    Values inputs, from, to, cotangents;
    for (const Type& type : operand_types(op_case, dtype, op_case.batch)) {
      inputs.push_back(function_.argument(numbered(part, 'x', inputs.size()), type));
    }
    const Values outputs = op_case.build({function_, inputs, dtype});
    for (int i : added.graph.seeded) {
      from.push_back(outputs[i]);
      const std::string name = numbered(part, 'u', cotangents.size());
      cotangents.push_back(function_.argument(name, outputs[i].type()));
    }
    for (int i : added.graph.wrt) to.push_back(inputs[i]);
    const Values slopes = gradients(from, to, cotangents);
    for (size_t i = 0; i < slopes.size(); ++i) {
      function_.result(numbered(part, 'g', i), slopes[i]);
    }
    parts_.push_back(std::move(added));
  }

  Module module_{"gradients"};
  Function& function_;
  std::vector<Part> parts_;
};

class GpuGradient : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    plan_ = &executable_.prepare();
    verify_plan(*plan_, *device_);
    for (const auto& result : cases_.function().results()) {
      results_[result.name] = device_->allocate(concrete(cases_.function().type(result.value)));
    }
  }

  void run(int sample_number) {
    std::vector<TensorList> inputs, cotangents;
    Tensors feeds;
    for (size_t k = 0; k < cases_.parts().size(); ++k) {
      const CombinedGradients::Part& part = cases_.parts()[k];
      const OpCase& op_case = *part.op_case;
      inputs.push_back(sample(op_case, part.dtype, op_case.batch, sample_number));
      cotangents.push_back(random_likes(part.graph.cotangents, sample_number + 1));
      for (size_t i = 0; i < inputs[k].size(); ++i) {
        feeds[numbered(k, 'x', i)] = to_runtime(inputs[k][i]);
      }
      for (size_t i = 0; i < cotangents[k].size(); ++i) {
        feeds[numbered(k, 'u', i)] = to_runtime(cotangents[k][i]);
      }
    }
    const int64_t before = gpu_launches();
    executable_.run(state_, feeds, {.into = results_});
    for (size_t k = 0; k < cases_.parts().size(); ++k) {
      SCOPED_TRACE("sample " + std::to_string(sample_number));
      compare(k, inputs[k], cotangents[k]);
    }
    EXPECT_GE(gpu_launches() - before, launches_with_work(*plan_));
  }

  void compare(size_t k, const TensorList& inputs, const TensorList& cotangents) {
    const CombinedGradients::Part& part = cases_.parts()[k];
    SCOPED_TRACE(part.op_case->title() + " in " + std::string(name(part.dtype)));
    const TensorList want = oracle_gradients(part.graph, inputs, cotangents);
    for (size_t i = 0; i < want.size(); ++i) {
      const oracle::Tensor got = from_runtime(on_host(*device_, results_.at(numbered(k, 'g', i))));
      // In double as on the CPU (gradient_test.cc).
      const double bound =
          part.dtype == DType::f64 ? 1e-12 : 64 * static_cast<double>(oracle::epsilon(DType::f32));
      EXPECT_TRUE(close(got, want[i], bound, 1)) << "operand " << part.graph.wrt[i];
    }
  }

  GpuUnderTest gpu_;
  std::shared_ptr<Device> device_ = gpu_.device();
  CombinedGradients cases_{GetParam()};
  Executable executable_{cases_.function(), device_};
  State state_{cases_.module(), device_};
  const Plan* plan_ = nullptr;
  Tensors results_;
};

// The first run is eager, the second one is the captured graph's.
TEST_P(GpuGradient, AsTheOracle) {
  for (int i = 0; i < 2; ++i) run(i);
}

std::vector<std::string> ops_with_gradients() {
  std::set<std::string> ops;
  for (const OpCase& op_case : all_cases()) {
    if (op_case.gradient) ops.insert(op_case.op);
  }
  return {ops.begin(), ops.end()};
}

INSTANTIATE_TEST_SUITE_P(Ops, GpuGradient, ::testing::ValuesIn(ops_with_gradients()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace adjoint::testing
