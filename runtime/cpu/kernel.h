// The CPU's kernels: tables, and what a kernel gets when it runs.
//
//   PreparedKernel prepare_relu(const KernelRequest& request) {
//     const int64_t n = request.outputs[0].element_count();
//     return [n](const KernelCall& call) {
//       call.threads.parallel_for(shard_count(n, 16384), [&](int64_t shard) { ... });
//     };
//   }
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/cpu/threads.h"
#include "runtime/kernel.h"
#include "runtime/kernel_table.h"

namespace adjoint::cpu {

// Buffers of one launch. All are 64-byte aligned (aliases of a state tensor included).
struct KernelCall {
  std::span<const void* const> inputs;
  std::span<void* const> outputs;
  void* workspace;
  Threads& threads;

  template <typename T>
  const T* input(size_t index) const {
    return static_cast<const T*>(inputs[index]);
  }
  template <typename T>
  T* output(size_t index) const {
    return static_cast<T*>(outputs[index]);
  }
};

// Reentrant: it holds constants only, so that several threads may run one plan on their own
// buffers.
using PreparedKernel = std::function<void(const KernelCall&)>;

struct KernelDef {
  std::string_view name;  // "provider.op": "eigen.matmul", "onednn.conv2d", "adjoint.region"
  std::string_view op;    // the op it computes
  bool (*supports)(const KernelRequest&) = nullptr;           // null: every request
  KernelFacts (*describe)(const KernelRequest&) = nullptr;    // null: KernelFacts{}
  PreparedKernel (*prepare)(const KernelRequest&) = nullptr;  // null only for aliases
};

using KernelTable = adjoint::KernelTable<KernelDef>;
// The first kernel that supports the request; null where there is none.
const KernelDef* choose(const KernelTable& table, const KernelRequest& request);

// Each family's kernels; standard_kernels() is all of them.
KernelTable standard_kernels();

}  // namespace adjoint::cpu
