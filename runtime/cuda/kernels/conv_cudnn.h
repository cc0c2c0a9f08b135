// Convolutions by cuDNN, in the regions of filter_layout.h and conv_moments.h.
//
//   CudnnConv convolution(request, ConvDirection::forward, context);
//   convolution.choose(request);  // the algorithm that is its variant
//   convolution.enqueue(call);
//
// cuDNN wants the same padding on both sides: copies into the workspace, and out of it, give it
// that.
#pragma once

#include <array>
#include <vector>

#include "runtime/cuda/api/cudnn.h"
#include "runtime/cuda/kernel.h"
#include "runtime/cuda/kernels/conv_geometry.h"
#include "runtime/cuda/kernels/conv_layout.h"

namespace adjoint::cuda {

// Floats of at most 32 bits, added in 32 bits; images that are there, of sizes that fit an int.
bool fits_cudnn(const KernelRequest& convolution);

// The parts of the workspace, one after another.
struct Workspace {
  static constexpr size_t kAlignment = 256;
  size_t bytes = 0;

  size_t add(size_t part) {
    const size_t offset = bytes;
    bytes += (part + kAlignment - 1) / kAlignment * kAlignment;
    return offset;
  }
};

// x for cuDNN: as it is, or in a frame of what the filters see.
struct FramedX {
  bool is_framed = false;
  std::array<int64_t, 2> size = {};
};

// A convolution with an algorithm, and its copies.
class CudnnConv {
 public:
  CudnnConv(const KernelRequest& region, ConvDirection direction, Context& context);

  const std::vector<ConvAlgorithm>& algorithms() const { return algorithms_; }
  void choose(const KernelRequest& request);
  KernelFacts facts() const {
    return {.workspace_bytes = workspace_.bytes, .flops = geometry_.flops()};
  }
  void enqueue(const KernelCall& call) const;

 private:
  Placement into_frame() const;
  Placement out_of_frame() const;

  ConvDirection direction_;
  ConvGeometry geometry_;
  FramedX x_;
  size_t element_size_;
  Convolution convolution_;
  Cudnn& cudnn_;
  std::vector<ConvAlgorithm> algorithms_;
  ConvAlgorithm algorithm_;
  Workspace workspace_;
  size_t x_offset_ = 0, algorithm_offset_ = 0;
};

}  // namespace adjoint::cuda
