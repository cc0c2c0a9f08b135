// Convolutions of NHWC images by cuDNN, forward and for both gradients.
//
//   Cudnn cudnn;
//   const Convolution convolution(shape);
//   for (ConvAlgorithm a : cudnn.algorithms(convolution, ConvDirection::forward)) ...
//   cudnn.run(convolution, ConvDirection::forward, a, {.x = x, .filter = filter, .y = y,
//             .workspace = workspace}, stream);
//
// Filters are [channels out, height, width, channels in / groups] ("KRSC").
#pragma once

#include <cuda_runtime.h>
#include <cudnn.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "graph/dtype.h"
#include "runtime/cuda/api/precision.h"

namespace adjoint::cuda {

// Two numbers are height and width. Zeros are added on both sides alike: y has floor((x + 2 pad -
// (filter - 1) dilation - 1) / stride) + 1 pixels. All sizes are positive and below 2^31.
struct ConvShape {
  DType dtype = DType::f32;  // f32, bf16 or f16
  Precision precision = Precision::f32;
  int64_t batch = 0;
  std::array<int64_t, 2> x = {};
  std::array<int64_t, 2> y = {};
  std::array<int64_t, 2> filter = {};
  std::array<int64_t, 2> stride = {1, 1};
  std::array<int64_t, 2> dilation = {1, 1};
  std::array<int64_t, 2> pad = {0, 0};
  int64_t x_channels = 0;
  int64_t y_channels = 0;
  int64_t groups = 1;
};

enum class ConvDirection {
  forward,      // x, filter -> y
  input_grad,   // y, filter -> x, both of them gradients
  filter_grad,  // x, y -> filter
};

// A shape as cuDNN describes it.
class Convolution {
 public:
  // Throws DeviceError where cuDNN takes the shape for nonsense.
  explicit Convolution(const ConvShape& shape);
  Convolution(Convolution&& other) noexcept { swap(other); }
  Convolution& operator=(Convolution other) noexcept {
    swap(other);
    return *this;
  }
  ~Convolution();

  cudnnTensorDescriptor_t x() const { return x_; }
  cudnnTensorDescriptor_t y() const { return y_; }
  cudnnFilterDescriptor_t filter() const { return filter_; }
  cudnnConvolutionDescriptor_t get() const { return convolution_; }

 private:
  void describe(const ConvShape& shape);
  void destroy();
  void swap(Convolution& other) noexcept {
    std::swap(x_, other.x_);
    std::swap(y_, other.y_);
    std::swap(filter_, other.filter_);
    std::swap(convolution_, other.convolution_);
  }
  cudnnTensorDescriptor_t x_ = nullptr;
  cudnnTensorDescriptor_t y_ = nullptr;
  cudnnFilterDescriptor_t filter_ = nullptr;
  cudnnConvolutionDescriptor_t convolution_ = nullptr;
};

struct ConvAlgorithm {
  int number = 0;  // among cuDNN's algorithms for the direction
  size_t workspace_bytes = 0;
};

// Which of x, filter and y is written, the direction says.
struct ConvBuffers {
  void* x = nullptr;
  void* filter = nullptr;
  void* y = nullptr;
  void* workspace = nullptr;  // of the algorithm's size
};

// Every failure throws DeviceError. One call at a time: it sets the stream. The library is loaded
// by the first call of algorithms(): who never asks does not wait for that.
class Cudnn {
 public:
  Cudnn() = default;
  Cudnn(Cudnn&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Cudnn& operator=(Cudnn other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Cudnn();

  // Those that cuDNN offers, the fastest by its own guess first; none where it refuses the shape.
  // `deterministic`: only those that give the same bits in every run. Not while a stream is
  // captured.
  std::vector<ConvAlgorithm> algorithms(const Convolution& convolution, ConvDirection direction,
                                        bool deterministic = true) const;
  void run(const Convolution& convolution, ConvDirection direction, const ConvAlgorithm& algorithm,
           const ConvBuffers& buffers, cudaStream_t stream) const;

 private:
  cudnnHandle_t handle() const;

  mutable cudnnHandle_t handle_ = nullptr;
};

}  // namespace adjoint::cuda
