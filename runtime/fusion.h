// A target pass that every device uses: connected elementwise ops, broadcasts and reductions into
// regions, which the device runs as one kernel each. What may be in a region, the device says.
//
//   pipeline.add(fusion_pass({.role = region_role}));
//
//   %2 = mul(%0, 0.5)                 %2.0, %2.1 = region(%0, w) {
//   %3 = sub(w, %2)            ->       mul, sub, sum
//   %4 = sum(%3)                      }
#pragma once

#include <functional>
#include <span>

#include "graph/pass.h"

namespace adjoint {

// What a node can be in a region.
enum class RegionRole {
  none,
  elementwise,  // computed point by point
  reduction,    // ends a region
  absorbed,     // a uniform constant or a broadcast: costs nothing inside
};

struct FusionRules {
  // The role of a node whose operands have these types. None for shapes with symbols.
  std::function<RegionRole(const Node&, std::span<const Type> operands)> role;
  // Whether a node reads this operand only at the place of its own element; null: all do. Others
  // (a gather's data) are not computed in the same region.
  std::function<bool(const Node&, size_t operand)> reads_in_place = nullptr;
  // Whether a scalar of this op is better computed again, with what it is computed from, in each
  // region of another shape that reads it than in a kernel before them; null: none is.
  std::function<bool(const Node&)> copies = nullptr;
  // Whether the same holds for this operand of a node, of any shape (a gather's indices), where
  // nothing else needs it; null: for none.
  std::function<bool(const Function&, const Node&, size_t operand)> copies_operand = nullptr;
  // Whether what can fail runs by itself, before the state is written: what it needs is then kept
  // apart from updates that read the same tensor.
  bool separates_updates = false;
  size_t max_nodes = 48;  // of a region
};

// Pass "fusion": gathers connected ops over one iteration shape into regions, as large as it can
// without making a cycle through other nodes. Ops are connected where one uses the other's result
// or both read the same tensor of that shape; a reduction belongs to the shape that it reduces and
// ends the region. Uniform constants and broadcasts are copied into each region that reads them,
// and, where the device says so, scalars and what is only needed as indices. An op moves behind
// others, to the region of its only users, where that saves its result from being stored. For
// functions whose shapes are known; nodes with symbols in their shape stay.
Pass fusion_pass(FusionRules rules);

}  // namespace adjoint
