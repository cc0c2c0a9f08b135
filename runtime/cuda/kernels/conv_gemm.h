// Convolutions as products of matrices whose operands are never laid out: tiles are copied from the
// images straight to shared memory.
#pragma once

#include <string>
#include <string_view>

#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/conv_geometry.h"
#include "runtime/cuda/kernels/norm_windows.h"

namespace adjoint::cuda {

// What multiplies: the CUDA cores floats, or tensor cores floats rounded to TF32, or bf16. Sums are
// f32.
enum class ConvGemmMath { cores, tf32, bf16 };

// What the rows of tiles are: for the input's gradient, images, all at one pixel of x; pixels of
// the result one behind the other; or its pixels of an image, for which the other operand's image
// lies in shared memory as a whole, with the filter, on tensor cores.
enum class ConvGemmRows { images, pixels, resident };

// What one of the launches computes, and where from, of floats or Bf16; filters are [o,kh,kw,c].
struct ConvGemmCall {
  const void* x = nullptr;
  const void* filter = nullptr;
  const void* y = nullptr;
  void* result = nullptr;
  void* workspace = nullptr;
  LaunchStream stream;
  unsigned* tickets = nullptr;  // with moments or sums, or for the filter's gradient
  // With moments: of y plus a bias, where there is one.
  const float* bias = nullptr;
  float* mean = nullptr;
  float* variance = nullptr;
};

// Channels in whole packs of 16 bytes, one group, sizes well below what an int holds.
bool fits_conv_gemm(const ConvGeometry& g, ConvGemmMath math);
// Of those: rows are pixels, or resident, at most a tile of an image; what is resident must have
// room in a block's `shared_bytes`.
bool fits_conv_gemm_forward(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
                            size_t shared_bytes);
// Besides, channels of y in so few tiles that each has tickets.
bool fits_conv_gemm_moments(const ConvGeometry& g, ConvGemmMath math);
// And strides of 1; where they are rows, images enough to fill half a tile.
bool fits_conv_gemm_input_grad(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
                               size_t shared_bytes);

void conv_gemm(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
               const ConvGemmCall& call);
// And the mean and variance of each channel of y (norm.h), as it is stored.
size_t conv_gemm_moments_workspace(const ConvGeometry& g, ConvGemmRows rows);
void conv_gemm_moments(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
                       const ConvGemmCall& call);
void conv_gemm_input_grad(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
                          const ConvGemmCall& call);
// Batch norm with relu in the same launch: its call, x stored as its y is, in f32 besides.
struct ConvNormCall {
  NormWindows windows;
  double epsilon = 0;
  KernelCall call;
};
// Where x is what batch norm gives, which is stored as well (norm_relu.h, with given moments): for
// windows that kernels know, 2 x 2 or pixels, and rows that are resident.
void conv_gemm_norm_moments(const ConvGeometry& g, ConvGemmMath math, const ConvGemmCall& call,
                            const ConvNormCall& norm);
// Of windows that kernels know; channels in so few tiles that each has tickets.
bool fits_conv_gemm_input_grad_sums(const ConvGeometry& g, const NormWindows& windows);
// Of batch norm's call.
size_t conv_gemm_input_grad_sums_workspace(const ConvGeometry& g, ConvGemmRows rows);
// The input's gradient, which is batch norm's dy, and the first half of its gradient
// (NormGradArguments).
void conv_gemm_input_grad_sums(const ConvGeometry& g, ConvGemmMath math, ConvGemmRows rows,
                               const ConvGemmCall& call, const ConvNormCall& norm);
// Of those above; on tensor cores, which have images in shared memory as a whole, some of them must
// have room in a block's `shared_bytes`, and the result be in so few tiles that each has a ticket.
bool fits_conv_gemm_filter_grad(const ConvGeometry& g, ConvGemmMath math, size_t shared_bytes);
// In so many parts, so that all multiprocessors have some.
int conv_gemm_filter_parts(const ConvGeometry& g, ConvGemmMath math, int multiprocessors);
size_t conv_gemm_filter_workspace(const ConvGeometry& g, ConvGemmMath math, int parts);
void conv_gemm_filter_grad(const ConvGeometry& g, ConvGemmMath math, int parts,
                           const ConvGemmCall& call);

}  // namespace adjoint::cuda
