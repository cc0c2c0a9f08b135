// What the tests of ops and gradients share.
//
//   Block block("test");
//   Value x = argument(block, "x", "f32[batch,3]");
//   EXPECT_EQ(type_of([&] { return relu(x); }), "f32[batch,3]");
//   EXPECT_EQ(type_of([&] { return relu(i); }), "relu: operand 0 is i64[], not a float type");
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "graph/block.h"
#include "graph/error.h"

namespace adjoint {

inline Value argument(Block& block, std::string name, std::string_view type) {
  return block.argument(std::move(name), Type::parse(type));
}

// The message of the GraphError that `action` throws; empty where it throws none.
template <typename Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const GraphError& error) {
    return error.what();
  }
  return "";
}

inline std::string types_text(const std::vector<Value>& values) {
  std::string text;
  for (const Value& value : values) text += (text.empty() ? "" : " ") + to_text(value.type());
  return text;
}
inline std::string types_text(Value value) { return to_text(value.type()); }

// The type (or types) that `build` gives, or the first line of its error, which must be followed by
// the line of this program that asked for it.
template <typename Build>
std::string type_of(Build&& build) {
  std::string types;
  const std::string error = error_of([&] { types = types_text(build()); });
  if (error.empty()) return types;
  const size_t end = error.find('\n');
  const std::string place = end == std::string::npos ? "" : error.substr(end);
  if (place.find("\n  built at ") != 0 || place.find("_test.cc:") == std::string::npos) {
    return "no line in: " + error;
  }
  return error.substr(0, end);
}

}  // namespace adjoint
