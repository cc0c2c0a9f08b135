#include "runtime/cuda/linear_cross_entropy.h"

#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "ops/linalg.h"
#include "ops/loss.h"
#include "ops/region.h"
#include "runtime/cuda/matmul_bias.h"
#include "runtime/cuda/region_builder.h"
#include "runtime/patterns.h"
#include "runtime/plan.h"

namespace adjoint::cuda {
namespace {

class LinearCrossEntropyPass {
 public:
  LinearCrossEntropyPass(const Function& function, const HasKernel& has_kernel)
      : function_(function), has_kernel_(has_kernel), joins_(function) {}

  std::optional<Rewritten> run() {
    for (int32_t i = 0; i < static_cast<int32_t>(function_.size()); ++i) {
      const Node& node = function_.node(i);
      if (node.op == &kSoftmaxCrossEntropy) losses_[node.operands[0]] = i;
      if (node.op == &kMatmul) join(i);
    }
    return joins_.rewritten();
  }

 private:
  bool is_linear(const Node& node) const {
    return node.op == &kRegion && signature(*node.blocks[0]) == kMatmulBias;
  }
  // Whether the value is there before this node, or can be.
  bool is_before(ValueId value, int32_t node) const {
    return value.node < node || function_.node(value).op == &kConstant;
  }

  // If `dx` is the last product of all this, and a kernel takes it, in the place of the first.
  void join(int32_t dx) {
    const Node& product = function_.node(dx);
    const int32_t grad = product.operands[0].node;
    if (function_.node(grad).op != &kSoftmaxCrossEntropyGrad) return;
    const ValueId dloss = function_.node(grad).operands[0];
    const ValueId logits = function_.node(grad).operands[1];
    const ValueId labels = function_.node(grad).operands[2];
    const Node& linear = function_.node(logits);
    const auto loss = losses_.find(logits);
    if (!is_linear(linear) || linear.operands[1] != product.operands[1] || loss == losses_.end() ||
        function_.node(loss->second).operands[1] != labels || !is_static(function_, product) ||
        joins_.at(logits.node) != nullptr || !is_before(dloss, logits.node) ||
        !is_before(labels, logits.node)) {
      return;
    }
    auto region = std::make_unique<RegionBuilder>(function_);
    for (ValueId operand : linear.operands) region->argument(operand);
    region->argument(labels);
    region->argument(dloss);
    for (int32_t part : {logits.node, loss->second, grad, dx}) region->add(part);
    region->results({logits, {loss->second, 0}, {grad, 0}, {dx, 0}});
    if (!region->is_taken(has_kernel_)) return;
    joins_.add(logits.node, std::move(region));
    for (int32_t part : {loss->second, grad, dx}) joins_.drop(part);
  }

  const Function& function_;
  const HasKernel& has_kernel_;
  std::map<ValueId, int32_t> losses_;  // by logits
  RegionJoins joins_;
};

}  // namespace

Pass linear_cross_entropy_pass(HasKernel has_kernel) {
  return {"linear_cross_entropy", [has_kernel = std::move(has_kernel)](const Function& function) {
            return LinearCrossEntropyPass(function, has_kernel).run();
          }};
}

}  // namespace adjoint::cuda
