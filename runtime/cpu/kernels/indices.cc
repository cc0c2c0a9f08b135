#include "runtime/cpu/kernels/indices.h"

#include "graph/error.h"

namespace adjoint::cpu {

void IndexCheck::operator()(DType dtype, const void* indices, int64_t count, int64_t limit) const {
  visit_integer(dtype, [&]<typename T>() {
    const T* values = static_cast<const T*>(indices);
    for (int64_t i = 0; i < count; ++i) {
      const auto value = static_cast<int64_t>(values[i]);
      if (value >= 0 && value < limit) continue;
      throw DataError(op + ": " + what + " " + std::to_string(value) + " at position " +
                      std::to_string(i) + " is not in 0 .. " + std::to_string(limit - 1) + built);
    }
  });
}

}  // namespace adjoint::cpu
