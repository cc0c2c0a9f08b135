// oneDNN, the one place that deals with its interface, which differs between 2.x and 3.x.
//
//   onednn::Matmul product({128, 768, 768, 1}, {768, 512, 512, 1}, {128, 512, 512, 1});
//   product.run(a, b, c, scratchpad);      // scratchpad_bytes() of memory, one for each caller
//
// Everything is made for one thread and runs on the calling one, so that our shards alone decide
// about parallelism (the calling thread's OpenMP setting is put back afterwards). Objects are
// immutable and may be shared by threads. All numbers are float32.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace adjoint::cpu::onednn {

// A matrix of which consecutive rows and columns lie so many elements apart.
struct Matrix {
  int64_t rows;
  int64_t columns;
  int64_t row_stride;
  int64_t column_stride;
};

// c = a b.
class Matmul {
 public:
  Matmul(const Matrix& a, const Matrix& b, const Matrix& c);

  size_t scratchpad_bytes() const;
  void run(const float* a, const float* b, float* c, void* scratchpad) const;

 private:
  struct Content;
  std::shared_ptr<const Content> content_;
};

// Sizes of a convolution of NHWC images; arrays are height, width.
struct ConvolutionShape {
  int64_t batch = 0;
  int64_t x_channels = 0;
  int64_t y_channels = 0;
  std::array<int64_t, 2> x = {};
  std::array<int64_t, 2> y = {};
  std::array<int64_t, 2> filter = {};
  std::array<int64_t, 2> stride = {1, 1};
  std::array<int64_t, 2> dilation = {1, 1};
  std::array<int64_t, 2> pad_low = {};
  std::array<int64_t, 2> pad_high = {};
};

// One direction of a convolution. The filter has a layout of oneDNN's choice: load_filter makes it
// from [kh,kw,c_in,c_out], store_filter makes that from it.
class Convolution {
 public:
  enum class Direction { forward, input_grad, filter_grad };

  Convolution(Direction direction, const ConvolutionShape& shape);

  size_t scratchpad_bytes() const;
  size_t filter_bytes() const;
  void load_filter(const float* filter, void* own, void* scratchpad) const;
  void store_filter(const void* own, float* filter, void* scratchpad) const;
  // forward: (x, own filter) -> y; input_grad: (dy, own filter) -> dx; filter_grad: (x, dy) -> own
  // filter.
  void run(const void* a, const void* b, void* result, void* scratchpad) const;

 private:
  struct Content;
  std::shared_ptr<const Content> content_;
};

}  // namespace adjoint::cpu::onednn
