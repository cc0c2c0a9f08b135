// Dimensions: whole numbers, or expressions over named symbols that are known only at run time.
//
//   Dim batch = Dim::symbol("batch");
//   Dim rows = 2 * batch + 1;            // prints as 2*batch+1
//   rows.evaluate({{"batch", 128}});     // 257
//
// Expressions are kept in a canonical form (a sum of products of symbols and floor divisions), so
// that equal polynomials compare equal however they were written. An expression is at most 1024
// characters long; a longer one throws GraphError.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace adjoint {

struct DimExpression;

// Values of symbols.
using DimBindings = std::map<std::string, int64_t, std::less<>>;

class Dim {
 public:
  Dim() = default;
  Dim(int64_t value) : value_(value) {}  // NOLINT: numbers are dimensions

  // A named unknown. Names are [A-Za-z_][A-Za-z0-9_]*; others throw GraphError.
  static Dim symbol(std::string_view name);
  // Parses what to_text prints; throws GraphError.
  static Dim parse(std::string_view text);

  bool is_constant() const { return expression_ == nullptr; }
  // The number; throws GraphError where a symbol remains.
  int64_t value() const;
  std::optional<int64_t> constant() const {
    return is_constant() ? std::optional<int64_t>(value_) : std::nullopt;
  }

  // Replaces the bound symbols; the others remain. Throws GraphError on overflow or division by 0.
  Dim substitute(const DimBindings& bindings) const;
  // The number under these bindings; throws GraphError naming an unbound symbol.
  int64_t evaluate(const DimBindings& bindings) const;
  // The name, where the expression is one symbol alone.
  std::optional<std::string> symbol_name() const;
  // Adds the names of all symbols in the expression.
  void collect_symbols(std::map<std::string, int64_t, std::less<>>& names) const;

  std::string to_text() const;
  size_t hash() const;

  // All throw GraphError when 64 bits overflow.
  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  // Rounds towards minus infinity; exact where b divides every term. Throws for b == 0.
  friend Dim floor_div(const Dim& a, const Dim& b);
  friend bool operator==(const Dim& a, const Dim& b);

 private:
  friend struct DimExpression;
  int64_t value_ = 0;
  std::shared_ptr<const DimExpression> expression_;  // null for a number
};

Dim floor_div(const Dim& a, const Dim& b);
// ceil(a / b).
inline Dim ceil_div(const Dim& a, const Dim& b) { return floor_div(a + b - 1, b); }

}  // namespace adjoint
