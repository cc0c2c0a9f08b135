// The GPU's table of kernels covers the CPU's: a kernel, a decomposition, or a reason.
#include <gtest/gtest.h>

#include <string>

#include "ops/standard_ops.h"
#include "runtime/cpu/kernel.h"
#include "runtime/cuda/kernel.h"
#include "tests/harness/gpu_missing.h"

namespace adjoint::testing {
namespace {

bool decomposes(std::string_view name) {
  const OpSet ops = standard_ops();
  const OpDef* op = ops.find(name);
  return op != nullptr && op->decompose != nullptr;
}

TEST(GpuCoverage, EveryOpOfTheCpuHasAKernel) {
  const auto on_gpu = cuda::standard_kernels().ops();
  const auto on_cpu = cpu::standard_kernels().ops();
  EXPECT_GT(on_cpu.size(), 80u);
  for (std::string_view op : on_cpu) {
    EXPECT_TRUE(on_gpu.contains(op) || decomposes(op) || why_missing(op))
        << op << " has no CUDA kernel, no decomposition, and no reason in gpu_missing.h";
  }
}

TEST(GpuCoverage, EveryOpOfTheGpuHasAKernelOfTheCpu) {
  const auto on_cpu = cpu::standard_kernels().ops();
  for (std::string_view op : cuda::standard_kernels().ops()) {
    EXPECT_TRUE(on_cpu.contains(op) || decomposes(op))
        << op << " has CUDA kernels, but neither a CPU kernel nor a decomposition";
  }
}

TEST(GpuCoverage, EveryKernelIsOfAStandardOp) {
  const OpSet ops = standard_ops();
  for (std::string_view op : cuda::standard_kernels().ops()) {
    EXPECT_NE(ops.find(op), nullptr) << op;
  }
}

TEST(GpuCoverage, ReasonsAreForOpsWithoutAKernel) {
  const auto on_gpu = cuda::standard_kernels().ops();
  for (const auto& [op, reason] : ops_without_gpu_kernel()) {
    EXPECT_FALSE(on_gpu.contains(op))
        << op << " has a kernel: the reason (" << to_text(reason) << ") is out of date";
    EXPECT_TRUE(cpu::standard_kernels().ops().contains(op)) << op << " is no op of the CPU's";
  }
}

}  // namespace
}  // namespace adjoint::testing
