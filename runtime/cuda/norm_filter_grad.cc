#include "runtime/cuda/norm_filter_grad.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "ops/conv.h"
#include "ops/region.h"
#include "ops/shape.h"
#include "runtime/cuda/conv_norm_grad.h"
#include "runtime/cuda/region_builder.h"
#include "runtime/cuda/region_extract.h"
#include "runtime/uses.h"

namespace adjoint::cuda {
namespace {

class NormFilterGradPass {
 public:
  NormFilterGradPass(const Function& function, const HasKernel& has_kernel)
      : function_(function), has_kernel_(has_kernel), uses_(function), joins_(function) {}

  std::optional<Rewritten> run() {
    for (int32_t i = 0; i < static_cast<int32_t>(function_.size()); ++i) {
      if (can_join(i)) join(i);
    }
    return joins_.rewritten();
  }

 private:
  // Whether the filter's gradient is the only user of a region's first result, and can be computed
  // in the region's place.
  bool can_join(int32_t filter_grad) const {
    const Node& node = function_.node(filter_grad);
    if (node.op != &kConv2dFilterGrad) return false;
    const ValueId images = node.operands[0], dx = node.operands[1];
    const Node& region = function_.node(dx.node);
    const auto is_static = [&](ValueId value) { return function_.type(value).shape.is_static(); };
    return region.op == &kRegion && dx.output == 0 && uses_.only_user(dx) == filter_grad &&
           images.node < dx.node && is_static(images) && is_static(dx) &&
           std::all_of(region.operands.begin(), region.operands.end(), is_static);
  }

  // If a kernel takes it.
  void join(int32_t filter_grad) {
    const Node& node = function_.node(filter_grad);
    const int32_t norm = node.operands[1].node;
    auto region = std::make_unique<RegionBuilder>(function_);
    region->argument(node.operands[0]);
    region->add(norm);
    region->add(filter_grad);
    std::vector<ValueId> results = {{filter_grad, 0}};
    const int count = static_cast<int>(function_.node(norm).types.size());
    for (int k = 1; k < count; ++k) results.push_back({norm, k});
    region->results(std::move(results));
    if (!norm_filter_grad_in(region->body()) || !region->is_taken(has_kernel_)) return;
    joins_.add(norm, std::move(region));
    joins_.drop(filter_grad);
  }

  const Function& function_;
  const HasKernel& has_kernel_;
  const Uses uses_;
  RegionJoins joins_;
};

}  // namespace

std::optional<NormFilterGrad> norm_filter_grad_in(const Block& body) {
  const auto last = static_cast<int32_t>(body.size()) - 1;
  if (last < 0 || body.node(last).op != &kConv2dFilterGrad) return std::nullopt;
  const ValueId images = body.node(last).operands[0], dx = body.node(last).operands[1];
  if (body.results()[0].value != ValueId{last, 0} || images != body.arguments()[0]) {
    return std::nullopt;
  }
  RegionExtract norm(body);
  for (size_t k = 1; k < body.arguments().size(); ++k) norm.argument(body.arguments()[k]);
  for (int32_t i = 0; i < last; ++i) {
    if (body.node(i).op != &kArgument && !norm.add(i)) return std::nullopt;
  }
  if (!norm.result(dx)) return std::nullopt;
  for (size_t k = 1; k < body.results().size(); ++k) {
    if (!norm.result(body.results()[k].value)) return std::nullopt;
  }
  if (!is_norm_grad(*norm.body()) && !conv_norm_grad_in(*norm.body())) return std::nullopt;
  return NormFilterGrad{norm.body(), last};
}

Pass norm_filter_grad_pass(HasKernel has_kernel) {
  return {"norm_filter_grad", [has_kernel = std::move(has_kernel)](const Function& function) {
            return NormFilterGradPass(function, has_kernel).run();
          }};
}

}  // namespace adjoint::cuda
