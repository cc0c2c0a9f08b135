// What is inside the fake cuDNN's handles and descriptors, and a convolution put together from
// them.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "tests/fake_cuda/library_support.h"

struct cudnnContext {
  cudaStream_t stream = nullptr;
};
// Of a tensor n, h, w, c; of a filter k, h, w, c.
struct cudnnTensorStruct {
  bool is_set = false;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  cudnnTensorFormat_t format = CUDNN_TENSOR_NHWC;
  int64_t n = 0, h = 0, w = 0, c = 0;
};
struct cudnnFilterStruct : cudnnTensorStruct {};
struct cudnnConvolutionStruct {
  bool is_set = false;
  int64_t pad[2] = {0, 0}, stride[2] = {1, 1}, dilation[2] = {1, 1};
  int64_t groups = 1;
  cudnnConvolutionMode_t mode = CUDNN_CONVOLUTION;
  cudnnDataType_t compute = CUDNN_DATA_FLOAT;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};

namespace fake_cuda {

enum class Direction { forward, input_grad, filter_grad };
inline constexpr Direction kDirections[] = {Direction::forward, Direction::input_grad,
                                            Direction::filter_grad};

// Copies of the descriptors.
struct Conv {
  cudnnTensorStruct x, y, filter;
  cudnnConvolutionStruct convolution;

  Element element() const;
  size_t bytes_of(const cudnnTensorStruct& tensor) const;
  int64_t extent(int axis) const;  // of the dilated filter
};

// Empty, with findings, where an object is not alive or they do not fit together.
std::optional<Conv> conv_of(Check& check, cudnnHandle_t handle, cudnnTensorDescriptor_t x,
                            cudnnFilterDescriptor_t filter,
                            cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t y);

// What the library can do.
struct Method {
  int number = 0;
  bool is_deterministic = true;
  size_t workspace_bytes = 0;
};
// The fastest first; none for padding as wide as the filter.
std::vector<Method> methods(const Conv& conv, Direction direction);
std::optional<Method> method(const Conv& conv, Direction direction, int number);

// A convolution that is ready to run: `out` is y, x or the filter.
struct ConvRun {
  Conv conv;
  Direction direction;
  double alpha, beta;
  const void *x, *filter, *y;  // one of them is `out`
  void* out;
  void* workspace;
  size_t workspace_bytes;

  const cudnnTensorStruct& out_tensor() const;
  void run() const;
};

}  // namespace fake_cuda
