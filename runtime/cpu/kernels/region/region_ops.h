// What the region engine can have inside a region.
#pragma once

#include <span>

#include "graph/block.h"
#include "runtime/fusion.h"

namespace adjoint::cpu {

// The role that a node can play, its operands having these types. None for shapes with symbols.
RegionRole region_role(const Node& node, std::span<const Type> operands);

}  // namespace adjoint::cpu
