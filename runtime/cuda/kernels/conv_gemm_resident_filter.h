// The filter's gradient of conv_gemm.h on tensor cores.
#pragma once

#include "runtime/cuda/kernels/conv_gemm.h"

namespace adjoint::cuda {

bool fits_resident_filter_grad(const ConvGeometry& g, ConvGemmMath math, size_t shared_bytes);
int resident_filter_parts(const ConvGeometry& g, int multiprocessors);
// The workspace holds a result in floats for each part.
void resident_filter_grad(const ConvGeometry& g, ConvGemmMath math, int parts,
                          const ConvGemmCall& call);

}  // namespace adjoint::cuda
