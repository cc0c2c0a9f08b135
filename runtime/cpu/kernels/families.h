// The kernels of each family of ops, as they stand in standard_kernels().
#pragma once

#include <span>

#include "runtime/cpu/kernel.h"

namespace adjoint::cpu {

std::span<const KernelDef> batch_norm_kernels();
std::span<const KernelDef> conv_kernels();
std::span<const KernelDef> copy_kernels();
std::span<const KernelDef> eigen_kernels();
std::span<const KernelDef> fused_norm_kernels();
std::span<const KernelDef> indexing_kernels();
std::span<const KernelDef> layer_norm_kernels();
std::span<const KernelDef> matmul_kernels();
std::span<const KernelDef> onednn_kernels();
std::span<const KernelDef> pool_kernels();
std::span<const KernelDef> random_kernels();
std::span<const KernelDef> reduce_kernels();
std::span<const KernelDef> region_kernels();
std::span<const KernelDef> softmax_kernels();

}  // namespace adjoint::cpu
