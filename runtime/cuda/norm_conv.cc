#include "runtime/cuda/norm_conv.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "ops/conv.h"
#include "ops/region.h"
#include "ops/shape.h"
#include "runtime/cuda/conv_moments.h"
#include "runtime/cuda/region_builder.h"
#include "runtime/cuda/region_extract.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

bool is_norm(const Block& body) {
  const std::string text = signature_between_casts(body);
  return text == kInferenceNormRelu || text == kInferenceNormReluPool ||
         text == kBiasInferenceNormRelu || text == kBiasInferenceNormReluPool;
}

class NormConvPass {
 public:
  NormConvPass(const Function& function, const HasKernel& has_kernel)
      : function_(function),
        has_kernel_(has_kernel),
        first_user_(function.size(), size()),
        joins_(function) {
    for (int32_t i = size() - 1; i >= 0; --i) {
      for (ValueId operand : function.node(i).operands) first_user_[operand.node] = i;
    }
  }

  std::optional<Rewritten> run() {
    for (int32_t i = 0; i < size(); ++i) {
      if (can_join(i)) join(i);
    }
    return joins_.rewritten();
  }

 private:
  int32_t size() const { return static_cast<int32_t>(function_.size()); }

  // Whether a convolution is the first user of a normalisation, which can be computed in its place.
  bool can_join(int32_t convolution) const {
    const Node& node = function_.node(convolution);
    if (node.op != &kRegion || !conv_moments_in(*node.blocks[0])) return false;
    const ValueId images = node.operands[0];
    const Node& norm = function_.node(images);
    const auto is_static = [&](ValueId value) { return function_.type(value).shape.is_static(); };
    return norm.op == &kRegion && is_norm(*norm.blocks[0]) &&
           first_user_[images.node] == convolution &&
           std::all_of(norm.operands.begin(), norm.operands.end(), is_static) &&
           std::all_of(node.operands.begin(), node.operands.end(), is_static);
  }

  // If a kernel takes it.
  void join(int32_t convolution) {
    const Node& node = function_.node(convolution);
    const int32_t norm = node.operands[0].node;
    auto region = std::make_unique<RegionBuilder>(function_);
    for (ValueId operand : function_.node(norm).operands) region->argument(operand);
    for (size_t k = 1; k < node.operands.size(); ++k) {
      if (node.operands[k].node == norm) return;
      region->argument(node.operands[k]);
    }
    region->add(norm);
    region->add(convolution);
    region->results({{norm, 0}, {convolution, 0}, {convolution, 1}, {convolution, 2}});
    if (!norm_conv_in(region->body()) || !region->is_taken(has_kernel_)) return;
    joins_.add(convolution, std::move(region));
    joins_.drop(norm);
  }

  const Function& function_;
  const HasKernel& has_kernel_;
  std::vector<int32_t> first_user_;  // by node
  RegionJoins joins_;
};

// Which of a body's arguments is the filter of its convolution; -1: none.
int filter_argument(const Block& body) {
  for (int32_t i = 0; i < static_cast<int32_t>(body.size()); ++i) {
    if (body.node(i).op != &kConv2d) continue;
    ValueId filter = body.node(i).operands[1];
    if (body.node(filter).op == &kTranspose) filter = body.node(filter).operands[0];
    const auto& arguments = body.arguments();
    const auto found = std::find(arguments.begin(), arguments.end(), filter);
    return found == arguments.end() ? -1 : static_cast<int>(found - arguments.begin());
  }
  return -1;
}

}  // namespace

std::optional<NormConv> norm_conv_in(const Block& body) {
  const int filter = filter_argument(body);
  if (filter < 0 || body.results().empty()) return std::nullopt;
  const ValueId normalised = body.results()[0].value;
  RegionExtract norm(body), convolution(body);
  convolution.argument(normalised);
  for (int k = 0; k < static_cast<int>(body.arguments().size()); ++k) {
    (k < filter ? norm : convolution).argument(body.arguments()[k]);
  }
  for (int32_t i = 0; i < static_cast<int32_t>(body.size()); ++i) {
    if (body.node(i).op == &kArgument) continue;
    if (!(i <= normalised.node ? norm : convolution).add(i)) return std::nullopt;
  }
  if (!norm.result(normalised)) return std::nullopt;
  for (size_t k = 1; k < body.results().size(); ++k) {
    if (!convolution.result(body.results()[k].value)) return std::nullopt;
  }
  if (!is_norm(*norm.body()) || !conv_moments_in(*convolution.body())) return std::nullopt;
  return NormConv{norm.body(), convolution.body()};
}

Pass norm_conv_pass(HasKernel has_kernel) {
  return {"norm_conv", [has_kernel = std::move(has_kernel)](const Function& function) {
            return NormConvPass(function, has_kernel).run();
          }};
}

}  // namespace adjoint::cuda
