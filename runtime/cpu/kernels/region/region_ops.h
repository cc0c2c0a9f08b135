// What the region engine can have inside a region.
#pragma once

#include <span>

#include "graph/block.h"

namespace adjoint::cpu {

enum class RegionRole {
  none,
  elementwise,  // has a micro-kernel
  reduction,    // ends a region
  absorbed,     // a uniform constant or a broadcast: costs nothing inside
};

// The role that a node can play, its operands having these types. None for shapes with symbols.
RegionRole region_role(const Node& node, std::span<const Type> operands);

}  // namespace adjoint::cpu
