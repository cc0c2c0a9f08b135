// Matrix products.
//
//   Value y = matmul(x, w);                              // [batch,784] x [784,10] -> [batch,10]
//   Value g = matmul(x, dy, {.transpose_a = true});      // x^T dy, without a transposed copy
#pragma once

#include <span>

#include "graph/block.h"

namespace adjoint {

extern const OpDef kMatmul;

std::span<const OpDef* const> linalg_ops();

struct MatmulAttributes {
  bool transpose_a = false;  // of the last two dimensions
  bool transpose_b = false;
  // What products are added up in: f32 or f64. Products of f64 are always added in f64.
  DType accumulate = DType::f32;
  static constexpr auto fields() {
    return std::tuple{Field{"ta", &MatmulAttributes::transpose_a},
                      Field{"tb", &MatmulAttributes::transpose_b},
                      Field{"accumulate", &MatmulAttributes::accumulate}};
  }
};

// c[...,i,j] = sum over l of a[...,i,l] * b[...,l,j]: [...,m,k] x [...,k,n] -> [...,m,n] (floats of
// one type, ranks of at least 2, leading dimensions broadcast as in numpy). A transposed operand is
// stored [...,k,m] or [...,n,k]. k = 0 gives zeros. Throws GraphError where the types, the ranks
// or the inner dimensions do not fit.
Value matmul(Located a, Value b, MatmulAttributes attributes = {});

}  // namespace adjoint
