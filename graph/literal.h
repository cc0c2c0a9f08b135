// Constant tensors inside graphs: element type, dimensions and values, immutable and shared.
//
//   Literal half = Literal::scalar(DType::f32, 0.5);
//   Literal table = Literal::of<float>({2, 2}, {1, 2, 3, 4});
//   to_text(half) == "f32[]{0.5}";  table.at(3) == 4.0
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "graph/error.h"
#include "graph/float16.h"
#include "graph/shape.h"

namespace adjoint {

// The element type that stores a C++ type.
template <typename T>
inline constexpr DType kDTypeOf = [] {
  static_assert(sizeof(T) == 0, "not a tensor element type");
  return DType::f32;
}();
template <>
inline constexpr DType kDTypeOf<float> = DType::f32;
template <>
inline constexpr DType kDTypeOf<double> = DType::f64;
template <>
inline constexpr DType kDTypeOf<Bf16> = DType::bf16;
template <>
inline constexpr DType kDTypeOf<F16> = DType::f16;
template <>
inline constexpr DType kDTypeOf<int32_t> = DType::i32;
template <>
inline constexpr DType kDTypeOf<int64_t> = DType::i64;
template <>
inline constexpr DType kDTypeOf<uint8_t> = DType::u8;
template <>
inline constexpr DType kDTypeOf<bool> = DType::boolean;

class Literal {
 public:
  Literal();  // f32 0
  // Throws GraphError where the byte count does not fit the dimensions or a bool is not 0 or 1.
  Literal(DType dtype, std::vector<int64_t> dims, std::vector<std::byte> bytes);

  // `value` rounded to the type (saturated for integers; NaN becomes 0 there).
  static Literal scalar(DType dtype, double value);
  // Every element the same.
  static Literal filled(DType dtype, const std::vector<int64_t>& dims, double value);
  template <typename T>
  static Literal of(std::vector<int64_t> dims, const std::vector<T>& values);
  static Literal integer(int64_t value);  // an i64 scalar, exact
  // Parses what to_text prints; throws GraphError.
  static Literal parse(std::string_view text);

  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& dims() const { return dims_; }
  Type type() const { return {dtype_, Shape::of(dims_)}; }
  int64_t element_count() const;
  const std::byte* data() const { return bytes_->data(); }
  size_t byte_count() const { return bytes_->size(); }

  double at(int64_t index) const;           // element in row-major order, as a double
  int64_t integer_at(int64_t index) const;  // exact for i64
  // The one value of all elements, bit for bit, or nothing.
  bool is_uniform() const;

  size_t hash() const;
  bool operator==(const Literal& other) const;  // same type and bits (NaN equals itself)

 private:
  DType dtype_ = DType::f32;
  std::vector<int64_t> dims_;
  std::shared_ptr<const std::vector<std::byte>> bytes_;
};

// "f32[2]{1,0.5}"; the shortest decimals that read back as the same bits; inf, -inf, nan;
// a NaN of other bits than the standard quiet one is written with them: nan(ffc00000).
std::string to_text(const Literal& literal);

// Single elements as text, exact.
double load_element(DType dtype, const std::byte* from);
void store_element(DType dtype, double value, std::byte* to);

template <typename T>
Literal Literal::of(std::vector<int64_t> dims, const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if constexpr (std::is_same_v<T, bool>) {
    for (size_t i = 0; i < values.size(); ++i) bytes[i] = std::byte{values[i]};
  } else if (!values.empty()) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
  }
  return Literal(kDTypeOf<T>, std::move(dims), std::move(bytes));
}

}  // namespace adjoint
