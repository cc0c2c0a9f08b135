// Kernels for f32 and f64 made to serve the other float types: operands are converted into the
// workspace, results back.
//
//   {.name = "adjoint.max_pool", .op = "max_pool", .describe = Widened<describe,
//   prepare>::describe,
//    .prepare = Widened<describe, prepare>::prepare}
#pragma once

#include "runtime/cpu/kernel.h"

namespace adjoint::cpu {

// f64 where an operand is f64, else f32.
DType widened_type(const KernelRequest& request);

// The request with all float operands of type `wide`.
KernelRequest widen_request(const KernelRequest& request, DType wide);
KernelFacts widen_facts(const KernelRequest& request, DType wide, KernelFacts facts);
PreparedKernel widen_kernel(const KernelRequest& request, DType wide, size_t workspace_bytes,
                            PreparedKernel kernel);

// `kWide` chooses the type to compute in; the two others see requests of that type alone.
template <KernelFacts (*kDescribe)(const KernelRequest&),
          PreparedKernel (*kPrepare)(const KernelRequest&),
          DType (*kWide)(const KernelRequest&) = widened_type>
struct Widened {
  static KernelFacts describe(const KernelRequest& request) {
    const DType wide = kWide(request);
    return widen_facts(request, wide, kDescribe(widen_request(request, wide)));
  }
  static PreparedKernel prepare(const KernelRequest& request) {
    const DType wide = kWide(request);
    const KernelRequest widened = widen_request(request, wide);
    return widen_kernel(request, wide, kDescribe(widened).workspace_bytes, kPrepare(widened));
  }
};

// Pieces of a workspace, each aligned to 64 bytes.
constexpr size_t aligned_bytes(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace adjoint::cpu
