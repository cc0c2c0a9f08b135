// Attributes of ops: plain structs with named fields, described once.
//
//   struct MatmulAttributes {
//     bool transpose_a = false;
//     bool transpose_b = false;
//     static constexpr auto fields() {
//       return std::tuple{Field{"ta", &MatmulAttributes::transpose_a},
//                         Field{"tb", &MatmulAttributes::transpose_b}};
//     }
//   };
//   Attributes a = MatmulAttributes{.transpose_a = true};
//   a.get<MatmulAttributes>().transpose_a;   a.to_text() == "{ta=true}"
//
// Printing, parsing, hashing, comparing and the substitution of dimensions come from fields().
// Fields that hold their default value are not printed.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "graph/error.h"
#include "graph/literal.h"
#include "graph/shape.h"

namespace adjoint {

template <typename Struct, typename T>
struct Field {
  std::string_view name;
  T Struct::*member;
};

// Names of an enum's values, in order from 0; specialise it for enums used as fields:
//   template <> struct EnumNames<Padding> { static constexpr std::string_view kNames[] = {...}; };
template <typename E>
struct EnumNames;

// The text of one field value, and back. parse_field throws GraphError on malformed text.
std::string field_text(bool value);
std::string field_text(int64_t value);
std::string field_text(double value);  // shortest text that reads back the same
std::string field_text(DType value);
std::string field_text(const std::string& value);  // quoted and escaped
std::string field_text(const Dim& value);
std::string field_text(const Shape& value);
std::string field_text(const Type& value);
std::string field_text(const Literal& value);
std::string field_text(const std::vector<int64_t>& value);  // "[1,2]"
template <typename E>
requires std::is_enum_v<E> std::string field_text(E value) {
  return std::string(EnumNames<E>::kNames[static_cast<size_t>(value)]);
}

void parse_field(std::string_view text, bool& value);
void parse_field(std::string_view text, int64_t& value);
void parse_field(std::string_view text, double& value);
void parse_field(std::string_view text, DType& value);
void parse_field(std::string_view text, std::string& value);
void parse_field(std::string_view text, Dim& value);
void parse_field(std::string_view text, Shape& value);
void parse_field(std::string_view text, Type& value);
void parse_field(std::string_view text, Literal& value);
void parse_field(std::string_view text, std::vector<int64_t>& value);
template <typename E>
requires std::is_enum_v<E>
void parse_field(std::string_view text, E& value) {
  size_t index = 0;
  for (std::string_view name : EnumNames<E>::kNames) {
    if (name == text) {
      value = static_cast<E>(index);
      return;
    }
    ++index;
  }
  throw GraphError("unknown value '" + std::string(text) + "'");
}

// One `name=text` pair of a dump; the text is raw.
using FieldTexts = std::vector<std::pair<std::string, std::string>>;

// A type-erased, immutable attribute struct; empty for ops without attributes.
class Attributes {
 public:
  Attributes() = default;
  template <typename A>
  requires requires { A::fields(); }
  Attributes(A value) : model_(std::make_shared<Model<A>>(std::move(value))) {}  // NOLINT

  bool empty() const { return model_ == nullptr; }
  // The struct; it must be the one that the op declares (a mistake throws GraphError).
  template <typename A>
  const A& get() const {
    const auto* model = dynamic_cast<const Model<A>*>(model_.get());
    if (model == nullptr) throw GraphError("attributes are of another type");
    return model->value;
  }
  template <typename A>
  bool holds() const {
    return dynamic_cast<const Model<A>*>(model_.get()) != nullptr;
  }

  FieldTexts field_texts() const { return model_ ? model_->field_texts() : FieldTexts{}; }
  std::string to_text() const;  // "{ta=true}", or "" where every field is at its default
  Attributes substitute(const DimBindings& bindings) const {
    return model_ ? Attributes(model_->substitute(bindings)) : Attributes();
  }
  size_t hash() const { return model_ ? model_->hash() : 0; }
  friend bool operator==(const Attributes& a, const Attributes& b) {
    if (a.model_ == b.model_) return true;
    return a.model_ && b.model_ && a.model_->equals(*b.model_);
  }

  // Builds an A from a dump's fields; throws GraphError for unknown or malformed ones.
  template <typename A>
  static Attributes parse(const FieldTexts& texts);

 private:
  struct Base {
    virtual ~Base() = default;
    virtual FieldTexts field_texts() const = 0;
    virtual std::shared_ptr<const Base> substitute(const DimBindings& bindings) const = 0;
    virtual size_t hash() const = 0;
    virtual bool equals(const Base& other) const = 0;
  };
  template <typename A>
  struct Model;

  explicit Attributes(std::shared_ptr<const Base> model) : model_(std::move(model)) {}

  std::shared_ptr<const Base> model_;
};

namespace internal {

template <typename T>
T substitute_field(const T& value, const DimBindings& bindings) {
  if constexpr (std::is_same_v<T, Dim> || std::is_same_v<T, Shape>) {
    return value.substitute(bindings);
  } else if constexpr (std::is_same_v<T, Type>) {
    return Type{value.dtype, value.shape.substitute(bindings)};
  } else {
    return value;
  }
}

bool same_bits(double a, double b);
template <typename T>
bool same_field(const T& a, const T& b) {
  if constexpr (std::is_same_v<T, double>) {
    return same_bits(a, b);
  } else {
    return a == b;
  }
}

size_t hash_text(std::string_view text);
template <typename T>
size_t hash_field(const T& value) {
  if constexpr (requires { value.hash(); }) {
    return value.hash();
  } else {
    return hash_text(field_text(value));
  }
}

}  // namespace internal

template <typename A>
struct Attributes::Model final : Attributes::Base {
  explicit Model(A v) : value(std::move(v)) {}

  template <typename Visit>
  static void each(Visit&& visit) {
    std::apply([&](const auto&... field) { (visit(field), ...); }, A::fields());
  }
  FieldTexts field_texts() const override {
    FieldTexts texts;
    const A defaults{};
    each([&](const auto& field) {
      const auto& current = value.*field.member;
      if (!internal::same_field(current, defaults.*field.member)) {
        texts.emplace_back(std::string(field.name), field_text(current));
      }
    });
    return texts;
  }
  std::shared_ptr<const Base> substitute(const DimBindings& bindings) const override {
    A copy = value;
    each([&](const auto& field) {
      copy.*field.member = internal::substitute_field(value.*field.member, bindings);
    });
    return std::make_shared<Model>(std::move(copy));
  }
  size_t hash() const override {
    size_t seed = 17;
    each([&](const auto& field) {
      seed = seed * 1000003u + internal::hash_field(value.*field.member);
    });
    return seed;
  }
  bool equals(const Base& other) const override {
    const auto* model = dynamic_cast<const Model*>(&other);
    bool same = model != nullptr;
    each([&](const auto& field) {
      same = same && internal::same_field(value.*field.member, model->value.*field.member);
    });
    return same;
  }

  A value;
};

template <typename A>
Attributes Attributes::parse(const FieldTexts& texts) {
  A value{};
  for (const auto& [name, text] : texts) {
    bool known = false;
    Model<A>::each([&](const auto& field) {
      if (field.name != name) return;
      parse_field(text, value.*field.member);
      known = true;
    });
    if (!known) throw GraphError("unknown attribute '" + name + "'");
  }
  return value;
}

// An op's attribute struct as constant data, for OpDef: `.attributes = kAttributesOf<A>`.
struct AttributesInfo {
  Attributes (*parse)(const FieldTexts&);
  bool (*matches)(const Attributes&);
};
template <typename A>
inline constexpr AttributesInfo kAttributesOf = {
    &Attributes::parse<A>, [](const Attributes& a) { return a.template holds<A>(); }};

}  // namespace adjoint
