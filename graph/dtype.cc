#include "graph/dtype.h"

#include <string>

#include "graph/error.h"

namespace adjoint {

DType parse_dtype(std::string_view text) {
  for (DType dtype : kAllDTypes) {
    if (name(dtype) == text) return dtype;
  }
  throw GraphError("unknown element type '" + std::string(text) + "'");
}

}  // namespace adjoint
