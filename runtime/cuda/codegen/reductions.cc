#include "runtime/cuda/codegen/reductions.h"

#include <set>
#include <utility>

#include "ops/reduce.h"
#include "ops/shape.h"

namespace adjoint::cuda {
namespace {

// The axes of `from` that sum_to adds up to reach `to`.
std::vector<int> summed_axes(const std::vector<int64_t>& from, const std::vector<int64_t>& to) {
  std::vector<int> axes;
  const size_t added = from.size() - to.size();
  for (size_t i = 0; i < from.size(); ++i) {
    if (i < added || (to[i - added] == 1 && from[i] != 1)) axes.push_back(static_cast<int>(i));
  }
  return axes;
}

}  // namespace

ReductionInfo reduction_info(const Block& body, const Node& node) {
  if (node.operands.empty()) return {};
  return reduction_info(node, body.type(node.operands[0]));
}

ReductionInfo reduction_info(const Node& node, const Type& from) {
  static constexpr std::pair<const OpDef*, const char*> kOps[] = {{&kSum, "Sum"},
                                                                  {&kMean, "Mean"},
                                                                  {&kMax, "Max"},
                                                                  {&kMin, "Min"},
                                                                  {&kProd, "Prod"},
                                                                  {&kVariance, "Variance"},
                                                                  {&kLogsumexp, "Logsumexp"}};
  if (node.op == &kSumTo) {
    return {summed_axes(from.shape.static_dims(), node.types[0].shape.static_dims()), "Sum"};
  }
  if (node.op == &kArgmax || node.op == &kArgmin) {
    const auto& attributes = node.attributes.get<ArgReduceAttributes>();
    return {{static_cast<int>(attributes.axis)}, node.op == &kArgmax ? "Argmax" : "Argmin"};
  }
  for (const auto& [op, name] : kOps) {
    if (node.op != op) continue;
    return {reduced_axes(node.attributes.get<ReduceAttributes>(), from.shape.rank()), name};
  }
  return {};
}

std::vector<bool> find_tails(const Block& body) {
  std::vector<bool> tails(body.size(), false);
  for (int32_t i = 0; i < static_cast<int32_t>(body.size()); ++i) {
    for (ValueId operand : body.node(i).operands) {
      const Node& from = body.node(operand);
      tails[i] = tails[i] || tails[operand.node] || !reduction_info(body, from).accumulator.empty();
    }
  }
  return tails;
}

std::vector<ValueId> reductions_below(const Block& body, ValueId tail) {
  std::vector<ValueId> found, open = {tail};
  std::set<ValueId> seen;
  while (!open.empty()) {
    const ValueId value = open.back();
    open.pop_back();
    for (ValueId operand : body.node(value).operands) {
      if (!seen.insert(operand).second) continue;
      const bool reduces = !reduction_info(body, body.node(operand)).accumulator.empty();
      (reduces ? found : open).push_back(operand);
    }
  }
  return found;
}

}  // namespace adjoint::cuda
