// Element types of tensors.
//
//   size_of(DType::f32) == 4;  name(DType::f32) == "f32";  parse_dtype("bf16") == DType::bf16
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace adjoint {

// `boolean` is written `bool` in text and stored as one byte, 0 or 1.
enum class DType : uint8_t { f32, f64, bf16, f16, i32, i64, u8, boolean };

inline constexpr DType kAllDTypes[] = {DType::f32, DType::f64, DType::bf16, DType::f16,
                                       DType::i32, DType::i64, DType::u8,   DType::boolean};

// Bytes of one element.
constexpr size_t size_of(DType dtype) {
  constexpr size_t kSizes[] = {4, 8, 2, 2, 4, 8, 1, 1};
  return kSizes[static_cast<size_t>(dtype)];
}

constexpr std::string_view name(DType dtype) {
  constexpr std::string_view kNames[] = {"f32", "f64", "bf16", "f16", "i32", "i64", "u8", "bool"};
  return kNames[static_cast<size_t>(dtype)];
}

constexpr bool is_float(DType d) { return d <= DType::f16; }
constexpr bool is_integer(DType d) { return d >= DType::i32 && d <= DType::u8; }

// The type that `text` names; throws GraphError for any other text.
DType parse_dtype(std::string_view text);

}  // namespace adjoint
