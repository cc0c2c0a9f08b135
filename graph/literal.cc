#include "graph/literal.h"

#include <charconv>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

namespace adjoint {
namespace {

template <typename T>
T saturate(double value) {
  if (std::isnan(value)) return 0;
  if (value <= static_cast<double>(std::numeric_limits<T>::min())) {
    return std::numeric_limits<T>::min();
  }
  if (value >= static_cast<double>(std::numeric_limits<T>::max())) {
    return std::numeric_limits<T>::max();
  }
  return static_cast<T>(value);
}

template <typename T>
void put(T value, std::byte* to) {
  std::memcpy(to, &value, sizeof value);
}

template <typename T>
T get(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
std::string number_text(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  }
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return std::string(buffer, end);
}

// The element's bits as a number.
uint64_t element_bits(DType dtype, const std::byte* from) {
  uint64_t bits = 0;
  std::memcpy(&bits, from, size_of(dtype));
  return bits;
}

// A NaN is written nan where it has the bits of our own NaN, otherwise with its bits:
// nan(7fc00001).
std::string nan_text(DType dtype, const std::byte* from) {
  std::byte standard[8] = {};
  store_element(dtype, std::numeric_limits<double>::quiet_NaN(), standard);
  const uint64_t bits = element_bits(dtype, from);
  if (bits == element_bits(dtype, standard)) return "nan";
  char buffer[24];
  return "nan(" + std::string(buffer, std::to_chars(buffer, buffer + 24, bits, 16).ptr) + ")";
}

bool parse_nan(DType dtype, std::string_view text, std::byte* to) {
  if (text == "nan") {
    store_element(dtype, std::numeric_limits<double>::quiet_NaN(), to);
    return true;
  }
  if (!text.starts_with("nan(") || text.back() != ')') return false;
  uint64_t bits = 0;
  const char* last = text.data() + text.size() - 1;
  const auto [end, error] = std::from_chars(text.data() + 4, last, bits, 16);
  const bool fits = size_of(dtype) == 8 || bits >> (8 * size_of(dtype)) == 0;
  if (error != std::errc() || end != last || !fits) return false;
  std::memcpy(to, &bits, size_of(dtype));
  return std::isnan(load_element(dtype, to));
}

std::string element_text(DType dtype, const std::byte* from) {
  if (is_float(dtype) && std::isnan(load_element(dtype, from))) return nan_text(dtype, from);
  switch (dtype) {
    case DType::f64:
      return number_text(get<double>(from));
    case DType::i64:
      return number_text(get<int64_t>(from));
    case DType::boolean:
      return get<uint8_t>(from) ? "true" : "false";
    case DType::i32:
    case DType::u8:
      return number_text(static_cast<int64_t>(load_element(dtype, from)));
    default:
      return number_text(static_cast<float>(load_element(dtype, from)));
  }
}

void parse_element(DType dtype, std::string_view text, std::byte* to) {
  if (dtype == DType::boolean && (text == "true" || text == "false")) {
    return put<uint8_t>(text == "true", to);
  }
  const char* last = text.data() + text.size();
  if (is_integer(dtype)) {
    int64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), last, value);
    if (error == std::errc() && end == last) {
      if (dtype == DType::i64) return put(value, to);
      store_element(dtype, static_cast<double>(value), to);
      if (load_element(dtype, to) == static_cast<double>(value)) return;
    }
  } else if (is_float(dtype) && text.starts_with("nan")) {
    if (parse_nan(dtype, text, to)) return;
  } else if (dtype == DType::f32) {  // through double it would be rounded twice
    float value = 0;
    auto [end, error] = std::from_chars(text.data(), last, value);
    if (error == std::errc() && end == last) return put(value, to);
  } else if (is_float(dtype)) {
    double value = 0;
    auto [end, error] = std::from_chars(text.data(), last, value);
    if (error == std::errc() && end == last) {
      store_element(dtype, value, to);
      if (std::isinf(value) || std::isfinite(load_element(dtype, to))) return;
    }
  }
  throw GraphError("not a " + std::string(name(dtype)) + " value: '" + std::string(text) + "'");
}

}  // namespace

double load_element(DType dtype, const std::byte* from) {
  switch (dtype) {
    case DType::f32:
      return get<float>(from);
    case DType::f64:
      return get<double>(from);
    case DType::bf16:
      return to_float(get<Bf16>(from));
    case DType::f16:
      return to_float(get<F16>(from));
    case DType::i32:
      return get<int32_t>(from);
    case DType::i64:
      return static_cast<double>(get<int64_t>(from));
    case DType::u8:
    case DType::boolean:
      break;
  }
  return get<uint8_t>(from);
}

void store_element(DType dtype, double value, std::byte* to) {
  switch (dtype) {
    case DType::f32:
      return put(static_cast<float>(value), to);
    case DType::f64:
      return put(value, to);
    case DType::bf16:
      return put(to_bf16(static_cast<float>(value)), to);
    case DType::f16:
      return put(to_f16(static_cast<float>(value)), to);
    case DType::i32:
      return put(saturate<int32_t>(value), to);
    case DType::i64:
      return put(saturate<int64_t>(value), to);
    case DType::u8:
      return put(saturate<uint8_t>(value), to);
    case DType::boolean:
      return put<uint8_t>(value != 0, to);
  }
}

Literal::Literal() : Literal(DType::f32, {}, std::vector<std::byte>(4)) {}

Literal::Literal(DType dtype, std::vector<int64_t> dims, std::vector<std::byte> bytes)
    : dtype_(dtype), dims_(std::move(dims)) {
  const int64_t count = Shape::of(dims_).element_count().value();
  int64_t expected = 0;
  if (__builtin_mul_overflow(count, static_cast<int64_t>(size_of(dtype)), &expected) ||
      static_cast<size_t>(expected) != bytes.size()) {
    throw GraphError("a literal of type " + to_text(type()) + " does not fit " +
                     std::to_string(bytes.size()) + " bytes");
  }
  if (dtype == DType::boolean) {
    for (std::byte b : bytes) {
      if (b > std::byte{1}) throw GraphError("a bool is 0 or 1, not " + std::to_string(int(b)));
    }
  }
  bytes_ = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
}

Literal Literal::scalar(DType dtype, double value) { return filled(dtype, {}, value); }

Literal Literal::filled(DType dtype, const std::vector<int64_t>& dims, double value) {
  const int64_t count = Shape::of(dims).element_count().value();
  std::vector<std::byte> bytes(count * size_of(dtype));
  for (int64_t i = 0; i < count; ++i) {
    store_element(dtype, value, bytes.data() + i * size_of(dtype));
  }
  return Literal(dtype, dims, std::move(bytes));
}

Literal Literal::integer(int64_t value) { return of<int64_t>({}, {value}); }

Literal Literal::parse(std::string_view text) {
  const size_t brace = text.find('{');
  if (brace == std::string_view::npos || text.back() != '}') {
    throw GraphError("not a literal: '" + std::string(text.substr(0, 80)) + "'");
  }
  const Type type = Type::parse(text.substr(0, brace));
  std::string_view inner = text.substr(brace + 1, text.size() - brace - 2);
  std::vector<std::byte> bytes;
  const size_t size = size_of(type.dtype);
  while (!inner.empty()) {
    const size_t comma = inner.find(',');
    bytes.resize(bytes.size() + size);
    parse_element(type.dtype, inner.substr(0, comma), bytes.data() + bytes.size() - size);
    if (comma == std::string_view::npos) break;
    inner.remove_prefix(comma + 1);
    if (inner.empty()) throw GraphError("a literal ends in a comma");
  }
  return Literal(type.dtype, type.shape.static_dims(), std::move(bytes));
}

int64_t Literal::element_count() const { return bytes_->size() / size_of(dtype_); }

double Literal::at(int64_t index) const {
  return load_element(dtype_, data() + index * size_of(dtype_));
}

int64_t Literal::integer_at(int64_t index) const {
  if (dtype_ == DType::i64) return get<int64_t>(data() + index * 8);
  return saturate<int64_t>(at(index));
}

bool Literal::is_uniform() const {
  const size_t size = size_of(dtype_);
  for (size_t i = size; i < byte_count(); i += size) {
    if (std::memcmp(data(), data() + i, size) != 0) return false;
  }
  return byte_count() > 0;
}

size_t Literal::hash() const {
  const std::string_view bytes(reinterpret_cast<const char*>(data()), byte_count());
  return std::hash<std::string_view>()(bytes) * 31 + static_cast<size_t>(dtype_) +
         Shape::of(dims_).hash() * 7;
}

bool Literal::operator==(const Literal& other) const {
  return dtype_ == other.dtype_ && dims_ == other.dims_ &&
         (bytes_ == other.bytes_ || *bytes_ == *other.bytes_);
}

std::string to_text(const Literal& literal) {
  std::string text = to_text(literal.type()) + "{";
  const size_t size = size_of(literal.dtype());
  for (int64_t i = 0; i < literal.element_count(); ++i) {
    if (i > 0) text += ',';
    text += element_text(literal.dtype(), literal.data() + i * size);
  }
  return text + "}";
}

}  // namespace adjoint
