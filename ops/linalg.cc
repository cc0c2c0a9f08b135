#include "ops/linalg.h"

#include <vector>

#include "graph/error.h"
#include "ops/builder.h"

namespace adjoint {
namespace {

// The shape with its last two dimensions taken off.
Shape leading(const Shape& shape) {
  return Shape(std::vector<Dim>(shape.begin(), shape.end() - 2));
}

std::vector<Type> infer_matmul(const Inference& in) {
  const auto& attributes = in.attributes<MatmulAttributes>();
  require_accumulation(in, attributes.accumulate);
  const Shape& a = in.shape(0);
  const Shape& b = in.shape(1);
  const std::string types = to_text(in.operand(0)) + " x " + to_text(in.operand(1));
  if (a.rank() < 2 || b.rank() < 2) in.fail("an operand is no matrix: " + types);
  const int row = attributes.transpose_a ? 1 : 2, column = attributes.transpose_b ? 2 : 1;
  const Dim& m = a[a.rank() - row];
  const Dim& a_inner = a[a.rank() - 3 + row];
  const Dim& b_inner = b[b.rank() - 3 + column];
  const Dim& n = b[b.rank() - column];
  if (a_inner != b_inner) {
    std::string message = "inner dimensions differ: " + types;
    if (attributes.transpose_a) message += ", a transposed";
    if (attributes.transpose_b) message += ", b transposed";
    in.fail(message + " (" + a_inner.to_text() + " and " + b_inner.to_text() + ")");
  }
  std::vector<Dim> dims;
  try {
    dims = broadcast_shapes(leading(a), leading(b)).dims();
  } catch (const GraphError&) {
    in.fail("leading dimensions do not broadcast: " + types);
  }
  dims.push_back(m);
  dims.push_back(n);
  return {{in.dtype(0), Shape(std::move(dims))}};
}

}  // namespace

const OpDef kMatmul = {.name = "matmul",
                       .min_operands = 2,
                       .max_operands = 2,
                       .attributes = &kAttributesOf<MatmulAttributes>,
                       .infer = infer_matmul};

std::span<const OpDef* const> linalg_ops() {
  static constexpr const OpDef* kOps[] = {&kMatmul};
  return kOps;
}

Value matmul(Located a, Value b, MatmulAttributes attributes) {
  return build(kMatmul, a, {b}, attributes);
}

}  // namespace adjoint
