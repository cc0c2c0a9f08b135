#include "graph/lexer.h"

#include <algorithm>
#include <cctype>
#include <limits>

#include "graph/attributes.h"
#include "graph/error.h"

namespace adjoint {
namespace {

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '/';
}

}  // namespace

void Lexer::skip_space() {
  while (position_ < text_.size()) {
    const char c = text_[position_];
    if (c == '#') {
      position_ = std::min(text_.find('\n', position_), text_.size());
    } else if (std::isspace(static_cast<unsigned char>(c))) {
      line_ += c == '\n';
      ++position_;
    } else {
      return;
    }
  }
}

bool Lexer::at_end() {
  skip_space();
  return position_ == text_.size();
}

bool Lexer::peek(std::string_view token) {
  skip_space();
  if (text_.substr(position_, token.size()) != token) return false;
  const size_t end = position_ + token.size();
  return !is_word(token.back()) || end == text_.size() || !is_word(text_[end]);
}

bool Lexer::accept(std::string_view token) {
  if (!peek(token)) return false;
  take(token.size());
  return true;
}

void Lexer::expect(std::string_view token) {
  if (!accept(token)) fail_expected("'" + std::string(token) + "'");
}

std::string_view Lexer::take(size_t length) {
  const std::string_view token = text_.substr(position_, length);
  token_line_ = line_;
  line_ += std::count(token.begin(), token.end(), '\n');
  position_ += length;
  return token;
}

std::string_view Lexer::take_name() {
  skip_space();
  size_t end = position_;
  while (end < text_.size() && is_word(text_[end])) ++end;
  if (end == position_) fail_expected("a name");
  return take(end - position_);
}

int64_t Lexer::take_number() {
  skip_space();
  size_t end = position_;
  int64_t value = 0;
  while (end < text_.size() && std::isdigit(static_cast<unsigned char>(text_[end]))) {
    value = value * 10 + (text_[end++] - '0');
    if (value > std::numeric_limits<int32_t>::max()) fail_expected("a smaller number");
  }
  if (end == position_) fail_expected("a number");
  take(end - position_);
  return value;
}

size_t Lexer::quoted_end(size_t from) const {
  for (size_t i = from + 1; i < text_.size(); ++i) {
    if (text_[i] == '\\') {
      ++i;
    } else if (text_[i] == '"') {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

std::string Lexer::take_quoted() {
  skip_space();
  const size_t end = peek("\"") ? quoted_end(position_) : std::string_view::npos;
  if (end == std::string_view::npos) fail_expected("a quoted text");
  std::string value;
  parse_field(take(end - position_), value);
  return value;
}

std::string_view Lexer::take_type() {
  skip_space();
  const size_t end = text_.substr(0, text_.find('\n', position_)).find(']', position_);
  if (end == std::string_view::npos) fail_expected("a type");
  return take(end + 1 - position_);
}

std::string_view Lexer::take_call() {
  const size_t start = position_;
  std::string_view name = take_name();
  if (position_ == text_.size() || text_[position_] != '(') return name;
  const size_t end = text_.find(')', start);
  if (end == std::string_view::npos) fail_expected("a ')'");
  const std::string_view arguments = take(end + 1 - position_);
  return {name.data(), name.size() + arguments.size()};
}

std::string_view Lexer::take_field() {
  skip_space();
  int64_t depth = 0;
  size_t end = position_;
  while (end < text_.size()) {
    const char c = text_[end];
    if (c == '"') {
      end = std::min(quoted_end(end), text_.size());
      continue;
    }
    if (depth == 0 && (c == ',' || c == '}')) return take(end - position_);
    depth += (c == '(' || c == '[' || c == '{');
    depth -= (c == ')' || c == ']' || c == '}');
    if (depth < 0) break;
    ++end;
  }
  fail_expected("an attribute's value");
}

std::string Lexer::take_text() { return peek("\"") ? take_quoted() : std::string(take_name()); }

void Lexer::fail_expected(std::string_view what) {
  skip_space();
  token_line_ = line_;
  std::string found(text_.substr(position_, 24));
  found = found.substr(0, found.find('\n'));
  throw GraphError("expected " + std::string(what) + ", found " +
                   (found.empty() ? "the end" : "'" + found + "'"));
}

}  // namespace adjoint
