// Copies around cuDNN's convolutions: filters into its order and back, images into a frame.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace adjoint::cuda {

// [rows,columns] to [columns,rows], for elements of 2 or 4 bytes. A filter [kh,kw,c,o] is a matrix
// of o columns; turned round it is cuDNN's [o,kh,kw,c].
void transpose(const void* from, void* to, int64_t rows, int64_t columns, size_t element_size,
               cudaStream_t stream);

// Images [batch,h,w,channels] into others: pixel (i,j) is moved to (i + shift, j + shift), cut off
// at the edges, with zeros where nothing arrives.
struct Placement {
  int64_t batch = 0;
  int64_t channels = 0;
  std::array<int64_t, 2> from = {};  // height, width
  std::array<int64_t, 2> to = {};
  std::array<int64_t, 2> shift = {};
};
void place(const void* from, void* to, const Placement& placement, size_t element_size,
           cudaStream_t stream);

}  // namespace adjoint::cuda
