// For tests: run_kernel on literals, and the measures of their errors.
//
//   Block block("test");
//   Value y = relu(block.argument("x", {DType::f32, {3}}));
//   Literal result = run_node(y, {x})[0];
#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "graph/block.h"
#include "runtime/cpu/kernels/kernel_tester.h"

namespace adjoint::cpu {

inline std::vector<Literal> run_node(Value value, const std::vector<Literal>& operands) {
  std::vector<TestTensor> tensors;
  for (const Literal& operand : operands) {
    tensors.emplace_back(TensorType{operand.dtype(), operand.dims()});
    if (operand.byte_count() == 0) continue;
    std::memcpy(tensors.back().data(), operand.data(), operand.byte_count());
  }
  std::vector<Literal> results;
  for (const TestTensor& tensor : run_kernel(value, tensors)) {
    const auto* bytes = static_cast<const std::byte*>(tensor.data());
    results.emplace_back(tensor.type().dtype, tensor.type().dims,
                         std::vector<std::byte>(bytes, bytes + tensor.type().byte_count()));
  }
  return results;
}

// Values of the type, drawn by `draw`.
template <typename Draw>
Literal draw_literal(DType dtype, const std::vector<int64_t>& dims, Draw&& draw) {
  int64_t count = 1;
  for (int64_t dim : dims) count *= dim;
  std::vector<std::byte> bytes(count * size_of(dtype));
  for (int64_t i = 0; i < count; ++i) {
    store_element(dtype, draw(), bytes.data() + i * size_of(dtype));
  }
  return Literal(dtype, dims, std::move(bytes));
}
inline Literal normal_literal(DType dtype, const std::vector<int64_t>& dims, int seed,
                              double scale = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal(0, scale);
  return draw_literal(dtype, dims, [&] { return normal(engine); });
}

// The distance between neighbouring floats of the type at x, subnormal ones included.
inline double spacing(DType dtype, double x) {
  struct Format {
    int digits, least;  // bits of the significand, exponent of the least subnormal
  };
  const Format format = dtype == DType::f32    ? Format{24, -149}
                        : dtype == DType::f64  ? Format{53, -1074}
                        : dtype == DType::bf16 ? Format{8, -133}
                                               : Format{11, -24};
  int exponent = 0;
  std::frexp(x, &exponent);
  return std::ldexp(1.0, std::max(exponent - format.digits, format.least));
}
inline double largest(DType dtype) {
  return dtype == DType::f32    ? 3.4028234663852886e38
         : dtype == DType::f64  ? 1.7976931348623157e308
         : dtype == DType::bf16 ? 3.3895313892515355e38
                                : 65504.0;
}

// Whether `got` is within `units` units in the last place of `wanted`, both finite, or the same
// infinity or both NaN; beyond the largest number either that number or infinity will do.
inline bool is_close(DType dtype, double got, double wanted, double units) {
  if (std::isnan(wanted)) return std::isnan(got);
  const double limit = largest(dtype);
  const double slack = units * spacing(dtype, std::min(std::fabs(wanted), limit));
  if (std::isinf(got)) return std::fabs(wanted) + slack >= limit && (got < 0) == (wanted < 0);
  if (std::isinf(wanted)) return false;
  return std::fabs(got - wanted) <= slack;
}

}  // namespace adjoint::cpu
