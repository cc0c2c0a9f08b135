// Kernels: how one node of a lowered function (all shapes known) is computed on a device.
//
//   const KernelDef kEigenMatmul = {.name = "eigen.matmul", .op = "matmul",
//                                   .supports = is_float_matmul, .describe = describe_matmul,
//                                   .prepare = prepare_matmul};
//
// A plan names kernels; a device's KernelTable lists them, the preferred ones first for each op.
// The same plan structures serve every device; what a prepared kernel is, each device defines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/block.h"

namespace adjoint {

// A tensor type without symbols.
struct TensorType {
  DType dtype = DType::f32;
  std::vector<int64_t> dims;

  int64_t element_count() const {
    int64_t count = 1;
    for (int64_t dim : dims) count *= dim;
    return count;
  }
  size_t byte_count() const { return element_count() * size_of(dtype); }
  bool operator==(const TensorType&) const = default;
};
TensorType concrete(const Type& type);  // throws GraphError where a symbol remains

// The node to be computed: op, attributes and nested blocks from `node`, types made concrete.
struct KernelRequest {
  const Node& node;
  std::vector<TensorType> inputs;
  std::vector<TensorType> outputs;
  std::string_view variant = {};  // of the kernel, where it has several: "provider.op#variant"

  template <typename A>
  const A& attributes() const {
    return node.attributes.get<A>();
  }
  const Block& region() const { return *node.blocks[0]; }
};

// What the planner must know about a kernel for one request.
struct KernelFacts {
  size_t workspace_bytes = 0;
  // Pairs (output, input): the output may be written over the input's buffer.
  std::vector<std::pair<int, int>> in_place = {};
  // The output is the input's bytes (reshape, squeeze): nothing runs.
  bool alias = false;
  // It may throw DataError on bad values; such kernels run before the first write to the state.
  bool fallible = false;
  // It leaves the state alone once the step has failed, so that it may write a variable. (On the
  // CPU a failed step ends at once.)
  bool guarded = true;
  double flops = 0;
  // Bytes read and written, where that is not all of the inputs and outputs (a gather from a data
  // set); negative: all.
  double bytes = -1;
};

}  // namespace adjoint
