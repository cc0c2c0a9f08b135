#include "runtime/cuda/conv_norm_grad.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "ops/conv.h"
#include "ops/region.h"
#include "ops/shape.h"
#include "runtime/cuda/filter_layout.h"
#include "runtime/cuda/region_builder.h"
#include "runtime/cuda/region_extract.h"
#include "runtime/patterns.h"
#include "runtime/uses.h"

namespace adjoint::cuda {
namespace {

constexpr const char* kConvInputGrad = "conv2d_input_grad(a0,a1)->0.0";

bool is_input_grad(const Node& node) {
  return node.op == &kConv2dInputGrad ||
         (node.op == &kRegion && signature(*node.blocks[0]) == kTurnedConvInputGrad);
}

class NormGradPass {
 public:
  NormGradPass(const Function& function, const HasKernel& has_kernel)
      : function_(function), has_kernel_(has_kernel), uses_(function), joins_(function) {}

  std::optional<Rewritten> run() {
    for (int32_t i = 0; i < static_cast<int32_t>(function_.size()); ++i) {
      if (can_join(i)) join(i);
    }
    return joins_.rewritten();
  }

 private:
  // Whether this is a normalisation's gradient, and all that it has of the convolution behind is
  // what nothing else uses.
  bool can_join(int32_t norm) const {
    const Node& node = function_.node(norm);
    if (node.op != &kRegion || !is_norm_grad(*node.blocks[0])) return false;
    const Node& convolution = function_.node(node.operands[0]);
    const auto is_static = [&](ValueId value) { return function_.type(value).shape.is_static(); };
    return is_input_grad(convolution) && uses_.only_user(node.operands[0]) == norm &&
           std::all_of(node.operands.begin(), node.operands.end(), is_static) &&
           std::all_of(convolution.operands.begin(), convolution.operands.end(), is_static);
  }

  // If a kernel takes it.
  void join(int32_t norm) {
    const Node& node = function_.node(norm);
    const int32_t convolution = node.operands[0].node;
    auto region = std::make_unique<RegionBuilder>(function_);
    for (ValueId operand : function_.node(convolution).operands) region->argument(operand);
    for (size_t k = 1; k < node.operands.size(); ++k) region->argument(node.operands[k]);
    region->add(convolution);
    region->add(norm);
    std::vector<ValueId> results;
    for (int k = 0; k < static_cast<int>(node.types.size()); ++k) results.push_back({norm, k});
    region->results(std::move(results));
    if (!region->is_taken(has_kernel_)) return;
    joins_.add(norm, std::move(region));
    joins_.drop(convolution);
  }

  const Function& function_;
  const HasKernel& has_kernel_;
  const Uses uses_;
  RegionJoins joins_;
};

}  // namespace

bool is_norm_grad(const Block& body) {
  const std::string text = signature_between_casts(body);
  const char* const known[] = {kNormReluGrad,         kNormReluPoolGrad,
                               kBiasNormReluGrad,     kBiasNormReluPoolGrad,
                               kBiasNormReluBiasGrad, kBiasNormReluPoolBiasGrad};
  return std::find(std::begin(known), std::end(known), text) != std::end(known);
}

std::optional<ConvNormGrad> conv_norm_grad_in(const Block& body) {
  const std::vector<ValueId>& arguments = body.arguments();
  if (arguments.size() < 3) return std::nullopt;
  RegionExtract convolution(body), norm(body);
  for (size_t k = 0; k < 2; ++k) convolution.argument(arguments[k]);
  bool has_convolution = false;
  for (int32_t i = 0; i < static_cast<int32_t>(body.size()); ++i) {
    const Node& node = body.node(i);
    if (node.op == &kArgument) continue;
    if (has_convolution) {
      if (!norm.add(i)) return std::nullopt;
      continue;
    }
    has_convolution = node.op == &kConv2dInputGrad;
    if ((!has_convolution && node.op != &kTranspose) || !convolution.add(i)) return std::nullopt;
    if (!has_convolution) continue;
    convolution.result({i, 0});
    norm.argument({i, 0});
    for (size_t k = 2; k < arguments.size(); ++k) norm.argument(arguments[k]);
  }
  for (const auto& result : body.results()) {
    if (!norm.result(result.value)) return std::nullopt;
  }
  const std::string text = signature(*convolution.body());
  if (text != kConvInputGrad && text != kTurnedConvInputGrad) return std::nullopt;
  if (!is_norm_grad(*norm.body())) return std::nullopt;
  return ConvNormGrad{convolution.body(), norm.body()};
}

Pass conv_norm_grad_pass(HasKernel has_kernel) {
  return {"conv_norm_grad", [has_kernel = std::move(has_kernel)](const Function& function) {
            return NormGradPass(function, has_kernel).run();
          }};
}

}  // namespace adjoint::cuda
