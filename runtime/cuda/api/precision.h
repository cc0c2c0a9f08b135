// What products of a type are multiplied and added up in by CUDA's libraries.
#pragma once

namespace adjoint::cuda {

// Elements are stored in the tensors' type.
enum class Precision {
  f32,   // 16-bit and 32-bit floats, exactly: no product is rounded to fewer bits
  tf32,  // 32-bit floats, rounded to 10 bits of mantissa before they are multiplied
  f64,   // 64-bit floats
};

}  // namespace adjoint::cuda
