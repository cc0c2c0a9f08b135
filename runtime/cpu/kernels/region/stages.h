// Several regions, one after the other, as one kernel: what needs a reduction's result to go on.
//
//   Stages stages(input_type);                       // slot 0
//   const int mean = stages.add({0}, [](auto v) { return adjoint::mean(v[0]); });
//   stages.add({0, mean}, [](auto v) { return adjoint::mean(square(v[0] - v[1])); });
//   stages.run(call);                                // the last stage is the kernel's output
#pragma once

#include <functional>
#include <vector>

#include "graph/block.h"
#include "runtime/cpu/kernels/region/program.h"

namespace adjoint::cpu {

class Stages {
 public:
  explicit Stages(const TensorType& input) { types_.push_back(input); }

  // The body of a region of these slots; returns the slot of its result. Throws PlanError where the
  // region engine cannot run it.
  using Body = std::function<Value(const std::vector<Value>&)>;
  int add(const std::vector<int>& slots, const Body& body);

  size_t workspace_bytes() const;
  void run(const KernelCall& call) const;

 private:
  static constexpr size_t kMaxSlots = 16;
  struct Stage {
    std::vector<int> slots;
    RegionProgram program;
  };
  std::vector<TensorType> types_;  // of the slots: the input, then each stage's result
  std::vector<Stage> stages_;
};

}  // namespace adjoint::cpu
