#include "graph/dim.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <utility>

#include "graph/error.h"

namespace adjoint {

// A symbol, or the floor division of two dimensions; `text` is its canonical spelling.
struct DimAtom {
  std::string text;
  std::shared_ptr<const std::pair<Dim, Dim>> division;  // null for a symbol

  bool operator<(const DimAtom& other) const { return text < other.text; }
};

using Monomial = std::vector<DimAtom>;  // sorted; empty for the constant term

struct DimExpression {
  std::map<Monomial, int64_t> terms;  // no zero coefficients
  std::string text;

  static std::map<Monomial, int64_t> terms_of(const Dim& dim) {
    if (dim.expression_) return dim.expression_->terms;
    if (dim.value_ == 0) return {};
    return {{Monomial{}, dim.value_}};
  }
  static Dim make(std::map<Monomial, int64_t> terms);
};

namespace {

// Longer expressions are refused, so that no text or chain of ops can make them grow without end.
constexpr size_t kMaxText = 1024;
constexpr size_t kMaxTerms = 128;
constexpr size_t kMaxFactors = 64;

[[noreturn]] void fail_overflow() { throw GraphError("dimension overflows 64 bits"); }

int64_t checked_add(int64_t a, int64_t b) {
  int64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) fail_overflow();
  return sum;
}

int64_t checked_multiply(int64_t a, int64_t b) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product)) fail_overflow();
  return product;
}

int64_t checked_subtract(int64_t a, int64_t b) {
  int64_t difference;
  if (__builtin_sub_overflow(a, b, &difference)) fail_overflow();
  return difference;
}

int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) throw GraphError("dimension divided by zero");
  if (b == -1) return checked_multiply(a, -1);
  const int64_t quotient = a / b;
  return quotient - ((a % b != 0) && ((a < 0) != (b < 0)));
}

// Of a number other than 0; -1 apart, since the processor cannot take INT64_MIN % -1.
bool is_multiple(int64_t a, int64_t b) { return b == -1 || a % b == 0; }

std::string text_of(const std::map<Monomial, int64_t>& terms) {
  std::string text;
  // The constant term sorts first but reads better last.
  auto append = [&](const Monomial& monomial, int64_t coefficient) {
    if (!text.empty() && coefficient > 0) text += '+';
    std::string product;
    for (const DimAtom& atom : monomial) product += (product.empty() ? "" : "*") + atom.text;
    if (product.empty()) {
      text += std::to_string(coefficient);
    } else if (coefficient == -1) {
      text += '-' + product;
    } else {
      text += (coefficient == 1 ? "" : std::to_string(coefficient) + "*") + product;
    }
  };
  for (const auto& [monomial, coefficient] : terms) {
    if (!monomial.empty()) append(monomial, coefficient);
  }
  if (auto constant = terms.find(Monomial{}); constant != terms.end()) {
    append(constant->first, constant->second);
  }
  return text;
}

void add_term(std::map<Monomial, int64_t>& terms, const Monomial& monomial, int64_t coefficient) {
  int64_t& slot = terms[monomial];
  slot = checked_add(slot, coefficient);
  if (slot == 0) terms.erase(monomial);
}

bool is_name_start(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool is_name_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

bool is_name(std::string_view text) {
  if (text.empty() || !is_name_start(text[0])) return false;
  for (char c : text) {
    if (!is_name_char(c)) return false;
  }
  return true;
}

// Recursive descent over sums, products, floor divisions and parentheses; the nesting is bounded so
// that hostile text cannot exhaust the stack.
class DimParser {
 public:
  explicit DimParser(std::string_view text) : text_(text) {}

  Dim parse() {
    Dim dim = sum();
    if (position_ != text_.size()) fail();
    return dim;
  }

 private:
  [[noreturn]] void fail() const {
    throw GraphError("not a dimension: '" + std::string(text_) + "'");
  }
  bool accept(std::string_view token) {
    if (text_.substr(position_, token.size()) != token) return false;
    position_ += token.size();
    return true;
  }
  Dim sum() {
    if (++depth_ > 64) fail();
    Dim total = product();
    while (true) {
      if (accept("+")) {
        total = total + product();
      } else if (accept("-")) {
        total = total - product();
      } else {
        --depth_;
        return total;
      }
    }
  }
  Dim product() {
    Dim result = atom();
    while (true) {
      if (accept("//")) {
        result = floor_div(result, atom());
      } else if (accept("*")) {
        result = result * atom();
      } else {
        return result;
      }
    }
  }
  Dim atom() {
    if (accept("-")) {
      if (at_digit()) return Dim(number(-1));
      if (++depth_ > 64) fail();
      Dim negated = Dim(0) - atom();
      --depth_;
      return negated;
    }
    if (accept("(")) {
      Dim inner = sum();
      if (!accept(")")) fail();
      return inner;
    }
    const size_t start = position_;
    if (position_ >= text_.size()) fail();
    if (is_name_start(text_[position_])) {
      while (position_ < text_.size() && is_name_char(text_[position_])) ++position_;
      return Dim::symbol(text_.substr(start, position_ - start));
    }
    return Dim(number(1));
  }
  bool at_digit() const {
    return position_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[position_]));
  }
  int64_t number(int sign) {
    if (!at_digit()) fail();
    int64_t value = 0;
    while (at_digit()) {
      value = checked_add(checked_multiply(value, 10), sign * (text_[position_++] - '0'));
    }
    return value;
  }

  std::string_view text_;
  size_t position_ = 0;
  int depth_ = 0;
};

}  // namespace

Dim DimExpression::make(std::map<Monomial, int64_t> terms) {
  if (terms.empty()) return Dim(0);
  if (terms.size() == 1 && terms.begin()->first.empty()) return Dim(terms.begin()->second);
  auto expression = std::make_shared<DimExpression>();
  if (terms.size() > kMaxTerms) throw GraphError("dimension expression is too long");
  expression->text = text_of(terms);
  if (expression->text.size() > kMaxText) throw GraphError("dimension expression is too long");
  expression->terms = std::move(terms);
  Dim dim;
  dim.expression_ = std::move(expression);
  return dim;
}

Dim Dim::symbol(std::string_view name) {
  if (!is_name(name)) throw GraphError("not a dimension name: '" + std::string(name) + "'");
  return DimExpression::make({{Monomial{DimAtom{std::string(name), nullptr}}, 1}});
}

Dim Dim::parse(std::string_view text) { return DimParser(text).parse(); }

int64_t Dim::value() const {
  if (expression_) throw GraphError("dimension '" + expression_->text + "' is not a number yet");
  return value_;
}

Dim Dim::substitute(const DimBindings& bindings) const {
  if (!expression_) return *this;
  Dim total(0);
  for (const auto& [monomial, coefficient] : expression_->terms) {
    Dim product(coefficient);
    for (const DimAtom& atom : monomial) {
      if (atom.division) {
        product = product * floor_div(atom.division->first.substitute(bindings),
                                      atom.division->second.substitute(bindings));
      } else {
        auto bound = bindings.find(atom.text);
        product = product * (bound == bindings.end() ? symbol(atom.text) : Dim(bound->second));
      }
    }
    total = total + product;
  }
  return total;
}

int64_t Dim::evaluate(const DimBindings& bindings) const {
  const Dim result = substitute(bindings);
  if (result.is_constant()) return result.value_;
  DimBindings unbound;
  result.collect_symbols(unbound);
  throw GraphError("dimension '" + unbound.begin()->first + "' is not bound to a number");
}

std::optional<std::string> Dim::symbol_name() const {
  if (!expression_ || expression_->terms.size() != 1) return std::nullopt;
  const auto& [monomial, coefficient] = *expression_->terms.begin();
  if (coefficient != 1 || monomial.size() != 1 || monomial[0].division) return std::nullopt;
  return monomial[0].text;
}

void Dim::collect_symbols(std::map<std::string, int64_t, std::less<>>& names) const {
  if (!expression_) return;
  for (const auto& [monomial, coefficient] : expression_->terms) {
    for (const DimAtom& atom : monomial) {
      if (atom.division) {
        atom.division->first.collect_symbols(names);
        atom.division->second.collect_symbols(names);
      } else {
        names.emplace(atom.text, 0);
      }
    }
  }
}

std::string Dim::to_text() const {
  return expression_ ? expression_->text : std::to_string(value_);
}

size_t Dim::hash() const {
  return expression_ ? std::hash<std::string>()(expression_->text) : std::hash<int64_t>()(value_);
}

Dim operator+(const Dim& a, const Dim& b) {
  if (!a.expression_ && !b.expression_) return Dim(checked_add(a.value_, b.value_));
  auto terms = DimExpression::terms_of(a);
  for (const auto& [monomial, c] : DimExpression::terms_of(b)) add_term(terms, monomial, c);
  return DimExpression::make(std::move(terms));
}

Dim operator-(const Dim& a, const Dim& b) {
  if (!a.expression_ && !b.expression_) return Dim(checked_subtract(a.value_, b.value_));
  return a + Dim(-1) * b;
}

Dim operator*(const Dim& a, const Dim& b) {
  if (!a.expression_ && !b.expression_) return Dim(checked_multiply(a.value_, b.value_));
  std::map<Monomial, int64_t> terms;
  const auto right = DimExpression::terms_of(b);
  for (const auto& [left_monomial, left] : DimExpression::terms_of(a)) {
    for (const auto& [right_monomial, c] : right) {
      Monomial product = left_monomial;
      product.insert(product.end(), right_monomial.begin(), right_monomial.end());
      if (product.size() > kMaxFactors) throw GraphError("dimension expression is too long");
      std::sort(product.begin(), product.end());
      add_term(terms, product, checked_multiply(left, c));
    }
  }
  return DimExpression::make(std::move(terms));
}

Dim floor_div(const Dim& a, const Dim& b) {
  if (!a.expression_ && !b.expression_) return Dim(floor_divide(a.value_, b.value_));
  if (b == Dim(1)) return a;
  if (b == Dim(0)) throw GraphError("dimension divided by zero");
  if (a == b) return Dim(1);
  // Terms that b divides leave the division: floor((k*b*x + r) / b) = k*x + floor(r / b).
  std::map<Monomial, int64_t> whole, rest;
  const auto divisor = DimExpression::terms_of(b);
  for (const auto& [monomial, coefficient] : DimExpression::terms_of(a)) {
    Monomial remaining = monomial;
    bool divides = divisor.size() == 1 && is_multiple(coefficient, divisor.begin()->second);
    if (divides) {
      for (const DimAtom& atom : divisor.begin()->first) {
        auto found = std::find_if(remaining.begin(), remaining.end(),
                                  [&](const DimAtom& other) { return other.text == atom.text; });
        divides = found != remaining.end();
        if (!divides) break;
        remaining.erase(found);
      }
    }
    if (divides) {
      add_term(whole, remaining, floor_divide(coefficient, divisor.begin()->second));
    } else {
      add_term(rest, monomial, coefficient);
    }
  }
  Dim result = DimExpression::make(std::move(whole));
  if (rest.empty()) return result;
  const Dim remainder = DimExpression::make(std::move(rest));
  if (remainder.is_constant() && b.is_constant()) return result + floor_div(remainder, b);
  auto wrap = [](const Dim& dim) {
    return dim.is_constant() || dim.symbol_name() ? dim.to_text() : "(" + dim.to_text() + ")";
  };
  DimAtom atom{"(" + wrap(remainder) + "//" + wrap(b) + ")",
               std::make_shared<const std::pair<Dim, Dim>>(remainder, b)};
  return result + DimExpression::make({{Monomial{std::move(atom)}, 1}});
}

bool operator==(const Dim& a, const Dim& b) {
  if (a.expression_ == b.expression_) return a.value_ == b.value_;
  if (!a.expression_ || !b.expression_) return false;
  return a.expression_->text == b.expression_->text;
}

}  // namespace adjoint
