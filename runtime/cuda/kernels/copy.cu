// Ops whose result is their operand's bytes, and the copy that obeys the step's guard.
#include <algorithm>

#include "runtime/cuda/device/block.h"
#include "runtime/cuda/device/pack.h"
#include "runtime/cuda/kernels/copy.h"

namespace adjoint::cuda {
namespace {

constexpr int kPackBytes = 16;
using Bytes = Pack<uint32_t, kPackBytes / 4>;

__global__ void copy_bytes(const unsigned char* from, unsigned char* to, size_t bytes,
                           const Status* guard) {
  begin_kernel();
  if (is_frozen(guard)) return;
  const size_t thread = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const size_t threads = static_cast<size_t>(gridDim.x) * blockDim.x, packs = bytes / kPackBytes;
  for (size_t i = thread; i < packs; i += threads) {
    reinterpret_cast<Bytes*>(to)[i] = reinterpret_cast<const Bytes*>(from)[i];
  }
  const size_t rest = packs * kPackBytes + thread;
  if (rest < bytes) to[rest] = from[rest];
}

KernelFacts describe_alias(const KernelRequest&, Context&) { return {.alias = true}; }

constexpr KernelDef kKernels[] = {
    {.name = "alias.reshape", .op = "reshape", .describe = describe_alias},
    {.name = "alias.squeeze", .op = "squeeze", .describe = describe_alias},
    {.name = "alias.expand_dims", .op = "expand_dims", .describe = describe_alias},
    {.name = "alias.stop_gradient", .op = "stop_gradient", .describe = describe_alias},
};

}  // namespace

void guarded_copy(const KernelCall& call, size_t bytes) {
  if (bytes == 0) return;
  constexpr size_t kThreads = 256, kMostBlocks = 1024;
  const size_t packs = bytes / kPackBytes;
  const size_t blocks = std::clamp<size_t>((packs + kThreads - 1) / kThreads, 1, kMostBlocks);
  launch("copy_bytes", copy_bytes,
         {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(kThreads)}, call.stream,
         call.input<unsigned char>(0), call.output<unsigned char>(0), bytes, call.guard);
}

std::span<const KernelDef> copy_kernels() { return kKernels; }

}  // namespace adjoint::cuda
