#include "tests/oracle/tensor.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace adjoint::oracle {
namespace {

struct FloatFormat {
  int digits;        // of the mantissa, the hidden one included
  int min_exponent;  // of the smallest normal number, 2^min_exponent
  int max_exponent;  // the largest number is below 2^(max_exponent + 1)
};

FloatFormat format_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return {53, -1022, 1023};
    case DType::bf16:
      return {8, -126, 127};
    case DType::f16:
      return {11, -14, 15};
    default:
      return {24, -126, 127};
  }
}

int bits_of(DType dtype) { return static_cast<int>(size_of(dtype)) * 8; }
bool is_signed(DType dtype) { return dtype == DType::i32 || dtype == DType::i64; }
Real lowest_integer(DType dtype) {
  return is_signed(dtype) ? -std::ldexp(Real(1), bits_of(dtype) - 1) : Real(0);
}
Real highest_integer(DType dtype) {
  return std::ldexp(Real(1), bits_of(dtype) - (is_signed(dtype) ? 1 : 0)) - 1;
}

Real rounded_float(DType dtype, Real value) {
  if (!std::isfinite(value) || value == 0) return value;
  const FloatFormat format = format_of(dtype);
  const int exponent = std::max(std::ilogb(value), format.min_exponent);
  const Real unit = std::ldexp(Real(1), exponent - format.digits + 1);
  const Real result = std::nearbyint(value / unit) * unit;  // ties to even
  if (std::fabs(result) > largest(dtype)) return std::copysign(INFINITY, value);
  return result == 0 ? std::copysign(Real(0), value) : result;
}

}  // namespace

int64_t count(const Dims& dims) {
  int64_t n = 1;
  for (int64_t dim : dims) n *= dim;
  return n;
}

int64_t offset(const Dims& dims, const Index& index) {
  int64_t place = 0;
  for (size_t axis = 0; axis < dims.size(); ++axis) place = place * dims[axis] + index[axis];
  return place;
}

Index index_at(const Dims& dims, int64_t place) {
  Index index(dims.size());
  for (int axis = static_cast<int>(dims.size()) - 1; axis >= 0; --axis) {
    index[axis] = place % dims[axis];
    place /= dims[axis];
  }
  return index;
}

Tensor filled(DType dtype, Dims dims, Real value) {
  const int64_t n = count(dims);
  return {dtype, std::move(dims), std::vector<Real>(n, value)};
}

Tensor with_error(DType dtype, Dims dims) {
  Tensor tensor = filled(dtype, std::move(dims), 0);
  tensor.error.assign(tensor.values.size(), 0);
  return tensor;
}

Real rounded(DType dtype, Real value) {
  if (is_float(dtype)) return rounded_float(dtype, value);
  if (dtype == DType::boolean) return value != 0;
  // Any Real from sums or products of two integers below 2^63 loses nothing where it matters:
  // integer ops that can overflow compute in 128 bits and come here with a value in range.
  const Real span = std::ldexp(Real(1), bits_of(dtype));
  Real wrapped = std::fmod(value, span);
  if (wrapped < lowest_integer(dtype)) wrapped += span;
  if (wrapped > highest_integer(dtype)) wrapped -= span;
  return wrapped;
}

Real converted(DType from, DType to, Real value) {
  if (is_float(from) && is_integer(to)) {
    if (std::isnan(value)) return 0;
    return std::clamp(std::trunc(value), lowest_integer(to), highest_integer(to));
  }
  return rounded(to, value);
}

Real epsilon(DType dtype) { return std::ldexp(Real(1), 1 - format_of(dtype).digits); }

Real largest(DType dtype) {
  const FloatFormat format = format_of(dtype);
  return std::ldexp(2 - epsilon(dtype), format.max_exponent);
}

Real smallest_normal(DType dtype) { return std::ldexp(Real(1), format_of(dtype).min_exponent); }

std::string to_text(const Tensor& tensor) {
  std::ostringstream out;
  out << name(tensor.dtype) << '[';
  for (size_t i = 0; i < tensor.dims.size(); ++i) out << (i ? "," : "") << tensor.dims[i];
  out << "]{";
  const size_t shown = std::min<size_t>(tensor.values.size(), 16);
  for (size_t i = 0; i < shown; ++i) out << (i ? "," : "") << tensor.values[i];
  out << (shown < tensor.values.size() ? ",...}" : "}");
  return out.str();
}

}  // namespace adjoint::oracle
