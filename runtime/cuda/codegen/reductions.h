// What the generator asks of reductions, and of what is computed from their results.
//
//   ReductionInfo info = reduction_info(body, node);
//   if (!info.accumulator.empty()) ...   // "Sum", over info.axes of the operand
#pragma once

#include <string>
#include <vector>

#include "graph/block.h"

namespace adjoint::cuda {

// What a reduction op is, or nothing: its operand's axes and the name of its accumulator.
struct ReductionInfo {
  std::vector<int> axes;
  std::string accumulator;  // "Sum"
};
// Empty accumulator: not a reduction.
ReductionInfo reduction_info(const Node& node, const Type& operand);
ReductionInfo reduction_info(const Block& body, const Node& node);
// By node: whether it is computed from a reduction's result.
std::vector<bool> find_tails(const Block& body);
// The reductions that a tail is computed from.
std::vector<ValueId> reductions_below(const Block& body, ValueId tail);

}  // namespace adjoint::cuda
