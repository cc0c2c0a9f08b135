// Dense tensors for the naive oracle: plain vectors in row-major order, no views, no runtime.
//
//   Tensor x{DType::f32, {2, 3}, {1, 2, 3, 4, 5, 6}};
//   for_each_index(x.dims, [&](const Index& i) { sum += x.at(i); });
//
// Elements are long doubles: they hold every f64 and every i64 exactly, and leave room to judge
// results in f64.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "graph/dtype.h"

namespace adjoint::oracle {

using Real = long double;
static_assert(std::numeric_limits<Real>::digits >= 64, "a Real holds every i64");

using Dims = std::vector<int64_t>;
using Index = std::vector<int64_t>;

int64_t count(const Dims& dims);
// Where `index` lies in row-major order.
int64_t offset(const Dims& dims, const Index& index);
// The index at that place.
Index index_at(const Dims& dims, int64_t place);

struct Tensor {
  DType dtype = DType::f32;
  Dims dims;
  std::vector<Real> values;
  // What a careful implementation may be off by, in units of its arithmetic's epsilon, for every
  // element; empty: kUlps * |value|. Only forward comparisons of single ops use it.
  std::vector<Real> error = {};

  Real at(const Index& index) const { return values[offset(dims, index)]; }
  Real& at(const Index& index) { return values[offset(dims, index)]; }
  int64_t size() const { return static_cast<int64_t>(values.size()); }
  int rank() const { return static_cast<int>(dims.size()); }
};

// The bound for one elementwise function of good quality.
inline constexpr Real kUlps = 4;

Tensor filled(DType dtype, Dims dims, Real value);
// A tensor of zeros that also carries a bound, zero everywhere.
Tensor with_error(DType dtype, Dims dims);

// `value` as the type stores it: nearest even for floats, wrapped for integers, 0 or 1 for bool.
Real rounded(DType dtype, Real value);
// Conversion as the op `cast` defines it: to integers it cuts, saturates from floats and wraps from
// integers.
Real converted(DType from, DType to, Real value);
// The distance from 1 to the next number.
Real epsilon(DType dtype);
// The largest finite number, and the smallest normal one, of a float type.
Real largest(DType dtype);
Real smallest_normal(DType dtype);

std::string to_text(const Tensor& tensor);  // "f32[2,2]{1,2,3,4}", shortened

template <typename Visit>
void for_each_index(const Dims& dims, Visit&& visit) {
  const int64_t n = count(dims);
  Index index(dims.size(), 0);
  for (int64_t i = 0; i < n; ++i) {
    visit(static_cast<const Index&>(index));
    for (int axis = static_cast<int>(dims.size()) - 1; axis >= 0; --axis) {
      if (++index[axis] < dims[axis]) break;
      index[axis] = 0;
    }
  }
}

}  // namespace adjoint::oracle
