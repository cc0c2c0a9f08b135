#include "runtime/cpu/kernels/widened.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "runtime/cpu/kernels/elements.h"

namespace adjoint::cpu {
namespace {

constexpr int64_t kShardElements = 1 << 15;

void convert(const void* from, DType from_type, void* to, DType to_type, int64_t count,
             Threads& threads) {
  const int64_t shards = shard_count(count, kShardElements);
  visit_float(from_type, [&]<typename From>() {
    visit_float(to_type, [&]<typename To>() {
      threads.parallel_for(shards, [&](int64_t shard) {
        const int64_t end = shard_begin(count, shards, shard + 1);
        for (int64_t i = shard_begin(count, shards, shard); i < end; ++i) {
          const auto value = widen(static_cast<const From*>(from)[i]);
          static_cast<To*>(to)[i] = narrow<To>(static_cast<Compute<To>>(value));
        }
      });
    });
  });
}

// An operand that has a copy of another type in the workspace.
struct Converted {
  size_t index;
  DType dtype;
  int64_t count;
  size_t offset;
};

// Appends those of `types` that are not `wide`; returns the end of their places.
size_t place(const std::vector<TensorType>& types, DType wide, size_t offset,
             std::vector<Converted>& converted) {
  for (size_t i = 0; i < types.size(); ++i) {
    if (!is_float(types[i].dtype) || types[i].dtype == wide) continue;
    const int64_t count = types[i].element_count();
    converted.push_back({i, types[i].dtype, count, offset});
    offset += aligned_bytes(count * size_of(wide));
  }
  return offset;
}

}  // namespace

DType widened_type(const KernelRequest& request) {
  for (const TensorType& input : request.inputs) {
    if (input.dtype == DType::f64) return DType::f64;
  }
  return DType::f32;
}

KernelRequest widen_request(const KernelRequest& request, DType wide) {
  KernelRequest widened = request;
  for (TensorType& type : widened.inputs) {
    if (is_float(type.dtype)) type.dtype = wide;
  }
  for (TensorType& type : widened.outputs) {
    if (is_float(type.dtype)) type.dtype = wide;
  }
  return widened;
}

KernelFacts widen_facts(const KernelRequest& request, DType wide, KernelFacts facts) {
  std::vector<Converted> converted;
  size_t bytes = place(request.inputs, wide, aligned_bytes(facts.workspace_bytes), converted);
  bytes = place(request.outputs, wide, bytes, converted);
  if (!converted.empty()) facts.workspace_bytes = bytes;
  return facts;
}

PreparedKernel widen_kernel(const KernelRequest& request, DType wide, size_t workspace_bytes,
                            PreparedKernel kernel) {
  std::vector<Converted> inputs;
  std::vector<Converted> outputs;
  const size_t end = place(request.inputs, wide, aligned_bytes(workspace_bytes), inputs);
  place(request.outputs, wide, end, outputs);
  if (inputs.empty() && outputs.empty()) return kernel;
  return [=, kernel = std::move(kernel)](const KernelCall& call) {
    auto* workspace = static_cast<std::byte*>(call.workspace);
    std::vector<const void*> wide_inputs(call.inputs.begin(), call.inputs.end());
    std::vector<void*> wide_outputs(call.outputs.begin(), call.outputs.end());
    for (const Converted& c : inputs) {
      convert(call.inputs[c.index], c.dtype, workspace + c.offset, wide, c.count, call.threads);
      wide_inputs[c.index] = workspace + c.offset;
    }
    for (const Converted& c : outputs) wide_outputs[c.index] = workspace + c.offset;
    kernel({wide_inputs, wide_outputs, workspace, call.threads});
    for (const Converted& c : outputs) {
      convert(workspace + c.offset, wide, call.outputs[c.index], c.dtype, c.count, call.threads);
    }
  };
}

}  // namespace adjoint::cpu
