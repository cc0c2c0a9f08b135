// A fused region: one node that owns a block of elementwise ops, broadcasts and reductions, which a
// device runs as one kernel. The fusion pass makes regions, after differentiation; a gradient never
// meets one.
//
//   %7 = region(%3, %4) { (a: f32[128,10], b: f32[10]) ... } : f32[128,10]
#pragma once

#include <memory>
#include <span>

#include "graph/block.h"

namespace adjoint {

// Operand i is the block's argument i, of the same type; output j is the block's result j.
extern const OpDef kRegion;

std::span<const OpDef* const> region_ops();

// Whether the fusion pass may put nodes of this op into a region: elementwise ops, broadcast_to,
// sum_to, reductions and constants. Other passes gather other ops, for kernels written by hand.
bool fits_region(const OpDef& op);

// Adds a region to `block`; returns its first output. Throws GraphError where the operands do not
// match the body's arguments or the body has no result.
Value region(Block& block, std::span<const Value> operands, std::shared_ptr<const Block> body,
             std::source_location where = std::source_location::current());

}  // namespace adjoint
