#include "runtime/missing_kernels.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "ops/elementwise.h"

namespace adjoint {
namespace {

KernelRequest request_of(const RewriteSite& site) {
  KernelRequest request{site.node, {}, {}};
  for (Value operand : site.operands) request.inputs.push_back(concrete(operand.type()));
  for (const Type& type : site.node.types) request.outputs.push_back(concrete(type));
  return request;
}

bool is_static(const RewriteSite& site) {
  auto fixed = [](const Type& type) { return type.shape.is_static(); };
  return std::all_of(site.node.types.begin(), site.node.types.end(), fixed) &&
         std::all_of(site.operands.begin(), site.operands.end(),
                     [&](Value operand) { return fixed(operand.type()); });
}

}  // namespace

Pass decompose_missing_pass(std::function<bool(const KernelRequest&)> has_kernel) {
  auto decompose = [has_kernel =
                        std::move(has_kernel)](const RewriteSite& site) -> std::vector<Value> {
    const Decompose rule = site.node.op->decompose;
    if (rule == nullptr || !is_static(site) || has_kernel(request_of(site))) return {};
    return rule(site.operands, site.node.attributes);
  };
  auto run = [decompose](const Function& function) {
    const auto is_composite = [](const Function&, const Node& node) {
      return node.op->decompose != nullptr;
    };
    std::optional<Rewritten> result = rewrite(function, decompose, is_composite);
    // What a decomposition is made of may be composite too.
    while (result) {
      std::optional<Rewritten> next = rewrite(*result->function, decompose, is_composite);
      if (!next) break;
      next->values = result->values.then(next->values);
      result = std::move(next);
    }
    return result;
  };
  return {"decompose_missing", run};
}

Pass widen_missing_pass(std::function<bool(const KernelRequest&)> has_kernel) {
  auto widen = [has_kernel = std::move(has_kernel)](const RewriteSite& site) -> std::vector<Value> {
    const Node& node = site.node;
    const auto is_short = [](const Type& type) {
      return type.dtype == DType::bf16 || type.dtype == DType::f16;
    };
    const auto found = std::find_if(node.types.begin(), node.types.end(), is_short);
    if (found == node.types.end() || !node.blocks.empty() || !is_static(site)) return {};
    const DType stored = found->dtype;
    if (has_kernel(request_of(site))) return {};
    std::vector<ValueId> operands;
    for (Value operand : site.operands) {
      const bool widens = operand.dtype() == stored;
      operands.push_back((widens ? cast(operand, DType::f32) : operand).id());
    }
    const Value wide =
        site.block.add_with_origin(*node.op, std::move(operands), node.attributes, node.origin);
    std::vector<Value> results;
    for (size_t i = 0; i < node.types.size(); ++i) {
      const Value output = wide.output(static_cast<int>(i));
      const bool narrows = node.types[i].dtype == stored;
      results.push_back(narrows ? cast(output, stored) : output);
    }
    return results;
  };
  return {"widen_missing", [widen](const Function& function) {
            return rewrite(function, widen, [](const Function&, const Node& node) {
              return !node.types.empty() && size_of(node.types[0].dtype) == 2;
            });
          }};
}

}  // namespace adjoint
