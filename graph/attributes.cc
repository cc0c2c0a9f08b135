#include "graph/attributes.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <functional>

namespace adjoint {
namespace {

[[noreturn]] void fail(std::string_view what, std::string_view text) {
  throw GraphError("not " + std::string(what) + ": '" + std::string(text) + "'");
}

template <typename T>
T parse_number(std::string_view what, std::string_view text) {
  T value{};
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (error != std::errc() || end != last) fail(what, text);
  return value;
}

}  // namespace

std::string field_text(bool value) { return value ? "true" : "false"; }
std::string field_text(int64_t value) { return std::to_string(value); }
std::string field_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
}
std::string field_text(DType value) { return std::string(name(value)); }
std::string field_text(const std::string& value) {
  std::string text = "\"";
  for (char c : value) {
    if (c == '\n') {
      text += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text + '"';
}
std::string field_text(const Dim& value) { return value.to_text(); }
std::string field_text(const Shape& value) { return to_text(value); }
std::string field_text(const Type& value) { return to_text(value); }
std::string field_text(const Literal& value) { return to_text(value); }
std::string field_text(const std::vector<int64_t>& value) {
  std::string text = "[";
  for (size_t i = 0; i < value.size(); ++i) text += (i ? "," : "") + std::to_string(value[i]);
  return text + "]";
}

void parse_field(std::string_view text, bool& value) {
  if (text != "true" && text != "false") fail("a bool", text);
  value = text == "true";
}
void parse_field(std::string_view text, int64_t& value) {
  value = parse_number<int64_t>("a whole number", text);
}
void parse_field(std::string_view text, double& value) {
  value = parse_number<double>("a number", text);
}
void parse_field(std::string_view text, DType& value) { value = parse_dtype(text); }
void parse_field(std::string_view text, std::string& value) {
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') fail("a quoted text", text);
  value.clear();
  const std::string_view inner = text.substr(1, text.size() - 2);
  for (size_t i = 0; i < inner.size(); ++i) {
    const bool escaped = inner[i] == '\\';
    if (escaped && ++i == inner.size()) fail("a quoted text", text);
    value += escaped && inner[i] == 'n' ? '\n' : inner[i];
  }
}
void parse_field(std::string_view text, Dim& value) { value = Dim::parse(text); }
void parse_field(std::string_view text, Shape& value) { value = Shape::parse(text); }
void parse_field(std::string_view text, Type& value) { value = Type::parse(text); }
void parse_field(std::string_view text, Literal& value) { value = Literal::parse(text); }
void parse_field(std::string_view text, std::vector<int64_t>& value) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') fail("a list", text);
  std::string_view inner = text.substr(1, text.size() - 2);
  value.clear();
  while (!inner.empty()) {
    const size_t comma = inner.find(',');
    value.push_back(parse_number<int64_t>("a whole number", inner.substr(0, comma)));
    if (comma == std::string_view::npos) break;
    inner.remove_prefix(comma + 1);
    if (inner.empty()) fail("a list", text);
  }
}

std::string Attributes::to_text() const {
  std::string text;
  for (const auto& [name, value] : field_texts()) {
    text += (text.empty() ? "{" : ", ") + name + "=" + value;
  }
  return text.empty() ? text : text + "}";
}

namespace internal {

bool same_bits(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

size_t hash_text(std::string_view text) { return std::hash<std::string_view>()(text); }

}  // namespace internal
}  // namespace adjoint
