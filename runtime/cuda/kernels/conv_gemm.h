// Convolutions in f32 on the CUDA cores, as products of matrices whose operands are never laid out:
// tiles are copied from the images straight to shared memory.
#pragma once

#include <string>
#include <string_view>

#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/conv_geometry.h"

namespace adjoint::cuda {

// What one of the launches computes, and where from; filters are [o,kh,kw,c].
struct ConvGemmCall {
  const float* x = nullptr;
  const float* filter = nullptr;
  const float* y = nullptr;
  float* result = nullptr;
  void* workspace = nullptr;
  cudaStream_t stream = nullptr;
};

// Whole quads of channels, one group, sizes well below what an int holds.
bool fits_conv_gemm(const ConvGeometry& g);
// Besides, strides of 1, and images enough to fill half a tile, whose rows they are.
bool fits_conv_gemm_input_grad(const ConvGeometry& g);

void conv_gemm(const ConvGeometry& g, const ConvGemmCall& call);
void conv_gemm_input_grad(const ConvGeometry& g, const ConvGemmCall& call);
// In so many parts, so that all multiprocessors have some.
int conv_gemm_filter_parts(const ConvGeometry& g, int multiprocessors);
size_t conv_gemm_filter_workspace(const ConvGeometry& g, int parts);
void conv_gemm_filter_grad(const ConvGeometry& g, int parts, const ConvGemmCall& call);

}  // namespace adjoint::cuda
