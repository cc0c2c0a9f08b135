#include "runtime/kernel.h"

#include "graph/error.h"

namespace adjoint {

TensorType concrete(const Type& type) {
  TensorType result{type.dtype, type.shape.static_dims()};
  int64_t bytes = static_cast<int64_t>(size_of(type.dtype));
  bool fits = true;
  for (int64_t dim : result.dims) {
    if (dim < 0) throw GraphError("a dimension of " + to_text(type) + " is negative");
    fits = fits && !__builtin_mul_overflow(bytes, dim, &bytes);
  }
  if (!fits && result.element_count() != 0) {
    throw GraphError("the bytes of " + to_text(type) + " overflow 64 bits");
  }
  return result;
}

}  // namespace adjoint
