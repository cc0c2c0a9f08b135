// The tokens of the text dump; used by the parser alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace adjoint {

// Reads a text from front to back. White space and comments (# to the end of the line) separate
// tokens. All take_ functions throw GraphError where the text holds something else.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  bool at_end();
  // Whether the next characters are `token`; accept also moves past them. A token that is a word
  // must end there.
  bool peek(std::string_view token);
  bool accept(std::string_view token);
  void expect(std::string_view token);

  std::string_view take_name();   // [A-Za-z0-9_./]+
  int64_t take_number();          // digits, at most 2^31 - 1
  std::string take_quoted();      // "text", unescaped
  std::string_view take_type();   // f32[batch,784]
  std::string_view take_call();   // he_normal, normal(0,1)
  std::string_view take_field();  // up to a ',' or '}' outside brackets and quotes
  std::string take_text();        // a quoted text or a name

  // The line of the last token taken, from 1.
  int64_t line() const { return token_line_; }
  [[noreturn]] void fail_expected(std::string_view what);

 private:
  void skip_space();
  size_t quoted_end(size_t from) const;
  std::string_view take(size_t length);

  std::string_view text_;
  size_t position_ = 0;
  int64_t line_ = 1;
  int64_t token_line_ = 1;
};

}  // namespace adjoint
