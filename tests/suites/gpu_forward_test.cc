// Every case on the GPU runtime against the naive oracle: planned, run eagerly and as a captured
// graph. On the test double as on a GPU.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/cuda/device.h"
#include "runtime/executable.h"
#include "runtime/plan_verifier.h"
#include "tests/harness/case_graph.h"
#include "tests/harness/gpu.h"
#include "tests/harness/interpreter.h"

namespace adjoint::testing {
namespace {

// All cases of an op, in all its types, as one function: planned and compiled at once. Case k has
// the arguments "k/x0" ... and the results "k/y0" ...
class CombinedCases {
 public:
  struct Part {
    const OpCase* op_case;
    DType dtype;
    int64_t batch;
    CaseGraph graph;  // the case by itself, for the oracle
  };

  explicit CombinedCases(const std::string& op) : function_(module_.function("f")) {
    for (const OpCase& op_case : all_cases()) {
      if (op_case.op != op) continue;
      for (DType dtype : types_under_test(op_case)) add(op_case, dtype, op_case.batch);
      const int64_t large = large_batch(op_case, kLarge);
      if (large > op_case.batch) add(op_case, DType::f32, large);
    }
  }

  const Module& module() const { return module_; }
  const Function& function() const { return function_; }
  const std::vector<Part>& parts() const { return parts_; }
  static std::string name(size_t part, char kind, size_t index) {
    return std::to_string(part) + "/" + kind + std::to_string(index);
  }

 private:
  static constexpr int64_t kLarge = 6000;  // elements, for several blocks

  void add(const OpCase& op_case, DType dtype, int64_t batch) {
    const size_t part = parts_.size();
    Values inputs;
    for (const Type& type : operand_types(op_case, dtype, batch)) {
      inputs.push_back(function_.argument(name(part, 'x', inputs.size()), type));
    }
    const Values outputs = op_case.build({function_, inputs, dtype});
    for (size_t i = 0; i < outputs.size(); ++i) {
      function_.result(name(part, 'y', i), outputs[i]);
    }
    parts_.push_back({&op_case, dtype, batch, build_case(op_case, dtype, batch)});
  }

  Module module_{"cases"};
  Function& function_;
  std::vector<Part> parts_;
};

class GpuForward : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    plan_ = &executable_.prepare();
    verify_plan(*plan_, *device_);
    for (const auto& result : cases_.function().results()) {
      results_[result.name] = device_->allocate(concrete(cases_.function().type(result.value)));
    }
  }

  void run(int sample_number) {
    std::vector<std::vector<oracle::Tensor>> inputs;
    Tensors feeds;
    for (size_t k = 0; k < cases_.parts().size(); ++k) {
      const CombinedCases::Part& part = cases_.parts()[k];
      inputs.push_back(sample(*part.op_case, part.dtype, part.batch, sample_number));
      for (size_t i = 0; i < inputs[k].size(); ++i) {
        feeds[CombinedCases::name(k, 'x', i)] = to_runtime(inputs[k][i]);
      }
    }
    const int64_t before = gpu_launches();
    executable_.run(state_, feeds, {.into = results_});
    for (size_t k = 0; k < cases_.parts().size(); ++k) {
      compare(k, inputs[k], sample_number);
    }
    EXPECT_GE(gpu_launches() - before, launches_with_work(*plan_));
  }

  void compare(size_t k, const std::vector<oracle::Tensor>& inputs, int sample_number) {
    const CombinedCases::Part& part = cases_.parts()[k];
    const OpCase& op_case = *part.op_case;
    SCOPED_TRACE(op_case.title() + " in " + std::string(name(part.dtype)) + ", batch " +
                 std::to_string(part.batch) + ", sample " + std::to_string(sample_number));
    const oracle::Outputs want = expected(op_case, part.graph, inputs);
    for (size_t i = 0; i < want.size(); ++i) {
      const oracle::Tensor got =
          from_runtime(on_host(*device_, results_.at(CombinedCases::name(k, 'y', i))));
      // The bounds are those of single nodes; several of them in a row get a common one.
      if (op_case.oracle || op_case.op == "region") {
        EXPECT_TRUE(close(got, want[i], 64 * static_cast<double>(oracle::epsilon(part.dtype))));
      } else {
        EXPECT_TRUE(agrees(got, want[i])) << "output " << i;
      }
    }
  }

  GpuUnderTest gpu_;
  std::shared_ptr<Device> device_ = gpu_.device();
  CombinedCases cases_{GetParam()};
  Executable executable_{cases_.function(), device_};
  State state_{cases_.module(), device_};
  const Plan* plan_ = nullptr;
  Tensors results_;
};

// The first run is eager, the later ones are the captured graph's.
TEST_P(GpuForward, AsTheOracle) {
  for (int i = 0; i < 3; ++i) run(i);
}

INSTANTIATE_TEST_SUITE_P(Ops, GpuForward, ::testing::ValuesIn(ops_with_cases()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace adjoint::testing
