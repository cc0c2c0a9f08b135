// Generated kernels: the CUDA source of one kernel for a fused region, or for a single op, which is
// a region of one.
//
//   if (can_generate(request)) Generated g = generate(request);
//   g.kernel.source;    // struct Pointers {...}; part0 ...; extern "C" __global__ void
//   region_1f3a...
//
// A kernel has a part for each index space among its outputs (and for each set of reduced axes);
// blocks are dealt out to the parts. That is how ops of different shapes share one launch.
#pragma once

#include <string>
#include <vector>

#include "runtime/cuda/kernel.h"
#include "runtime/kernel.h"

namespace adjoint::cuda {

struct Generated {
  GeneratedKernel kernel;
  KernelFacts facts;
};

// Whether every node of the region's body is in reach of the generator.
bool can_generate(const KernelRequest& request);
bool can_generate(const Block& body);
// Throws PlanError where it cannot.
Generated generate(const KernelRequest& request);

// The ops that fuse: what the generator computes point by point, and reductions.
bool is_generated(const Block& block, const Node& node);

// The words of a kernel's one parameter, in the order of its struct Pointers.
std::vector<uint64_t> pointer_words(const KernelCall& call);

// The source of a program of such kernels: includes and all.
std::string program_source(const std::vector<GeneratedKernel>& kernels);

}  // namespace adjoint::cuda
