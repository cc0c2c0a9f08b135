#include "runtime/cuda/lowering.h"

#include <algorithm>

#include "graph/passes.h"
#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/random.h"
#include "ops/shape.h"
#include "runtime/cuda/codegen/part.h"
#include "runtime/cuda/codegen/point.h"
#include "runtime/cuda/codegen/scalar_ops.h"
#include "runtime/cuda/conv_moments.h"
#include "runtime/cuda/conv_norm_grad.h"
#include "runtime/cuda/filter_layout.h"
#include "runtime/cuda/linear_cross_entropy.h"
#include "runtime/cuda/matmul_bias.h"
#include "runtime/cuda/norm_conv.h"
#include "runtime/cuda/norm_filter_grad.h"
#include "runtime/cuda/norm_storage.h"
#include "runtime/cuda/reduction_tails.h"
#include "runtime/cuda/side_by_side.h"
#include "runtime/fallible.h"
#include "runtime/fusion.h"
#include "runtime/missing_kernels.h"
#include "runtime/patterns.h"

namespace adjoint::cuda {
namespace {

bool is_static(const Type& type) { return type.shape.is_static(); }

RegionRole region_role(const Node& node, std::span<const Type> operands) {
  // By itself, so that what is fused with its operand or result may write the state.
  if (node.op == &kCheckFinite) return RegionRole::none;
  if (node.op == &kConstant) return is_pointwise(node) ? RegionRole::absorbed : RegionRole::none;
  if (node.types.size() != 1 || !is_static(node.types[0]) ||
      !std::all_of(operands.begin(), operands.end(), is_static)) {
    return RegionRole::none;
  }
  if (node.op == &kBroadcastTo) return RegionRole::absorbed;
  if (is_pointwise(node)) return RegionRole::elementwise;
  const bool reduces = !operands.empty() && !reduction_info(node, operands[0]).accumulator.empty();
  return reduces ? RegionRole::reduction : RegionRole::none;
}

// A transposed or sliced operand is read elsewhere than at the user's own place.
bool reads_in_place(const Node& node, size_t operand) {
  return node.op != &kTranspose && node.op != &kSlice && !reads_freely(node, operand);
}

// Cheap to compute again, element by element.
bool is_copied(const Node& node) {
  return has_scalar_expression(*node.op) || node.op == &kIota || node.op == &kPermuteIndex;
}
// The indices of a gather; but not where both they and the gather could fail.
bool copies_operand(const Function& function, const Node& node, size_t operand) {
  if (node.op != &kGather || operand != 1) return false;
  return !can_fail(function.node(node.operands[1])) || gathers_in_range(function, node);
}

}  // namespace

Pipeline lowering_pipeline(const KernelTable& kernels, Context& context) {
  auto has_kernel = [&](const KernelRequest& request) {
    return kernels.first(request.node.op->name, [&](const KernelDef& kernel) {
      if (kernel.supports != nullptr && !kernel.supports(request)) return false;
      return kernel.variants == nullptr || !kernel.variants(request, context).empty();
    }) != nullptr;
  };
  Pipeline pipeline;
  pipeline
      .repeat({norm_relu_grad_pass(), filter_layout_pass(has_kernel), cse_pass(), dce_pass(),
               norm_relu_pass(), norm_bias_pass(), norm_storage_pass(has_kernel),
               conv_moments_pass(has_kernel), norm_conv_pass(has_kernel),
               conv_norm_grad_pass(has_kernel), norm_filter_grad_pass(has_kernel),
               matmul_bias_pass(has_kernel), linear_cross_entropy_pass(has_kernel)},
              1)
      .add(widen_missing_pass(has_kernel))
      .add(decompose_missing_pass(has_kernel))
      .add(fusion_pass({.role = region_role,
                        .reads_in_place = reads_in_place,
                        .copies = is_copied,
                        .copies_operand = copies_operand,
                        .separates_updates = true}))
      .add(reduction_tails_pass())
      .add(side_by_side_pass());
  return pipeline;
}

}  // namespace adjoint::cuda
