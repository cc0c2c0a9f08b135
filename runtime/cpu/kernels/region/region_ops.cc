#include "runtime/cpu/kernels/region/region_ops.h"

#include <algorithm>

#include "ops/shape.h"
#include "runtime/cpu/kernels/elementwise/micro_kernels.h"
#include "runtime/cpu/kernels/reduce/tile_reduce.h"

namespace adjoint::cpu {

RegionRole region_role(const Node& node, std::span<const Type> operands) {
  if (node.op == &kConstant) {
    const Literal& value = node.attributes.get<ConstantAttributes>().value;
    const bool uniform = value.element_count() > 0 && value.is_uniform();
    return uniform ? RegionRole::absorbed : RegionRole::none;
  }
  auto is_static = [](const Type& type) { return type.shape.is_static(); };
  if (operands.empty() || !std::all_of(operands.begin(), operands.end(), is_static) ||
      !std::all_of(node.types.begin(), node.types.end(), is_static)) {
    return RegionRole::none;
  }
  if (node.op == &kBroadcastTo) return RegionRole::absorbed;
  const DType in = operands.back().dtype;
  if (node.op->traits.elementwise) {
    const bool known = find_micro_kernel(node.op->name, in, node.types[0].dtype) != nullptr;
    return known ? RegionRole::elementwise : RegionRole::none;
  }
  const std::string_view kind = node.op == &kSumTo ? "sum" : node.op->name;
  return find_tile_reduce(kind, in) ? RegionRole::reduction : RegionRole::none;
}

}  // namespace adjoint::cpu
