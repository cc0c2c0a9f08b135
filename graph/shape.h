// Shapes (dimension expressions, outermost first) and tensor types (element type and shape).
//
//   Type images{DType::f32, {Dim::symbol("batch"), 28, 28, 1}};
//   to_text(images) == "f32[batch,28,28,1]";  images.shape.rank() == 4
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "graph/dim.h"
#include "graph/dtype.h"

namespace adjoint {

inline constexpr int kMaxRank = 8;

// Immutable; copies share storage.
class Shape {
 public:
  Shape() = default;  // a scalar
  // Throws GraphError for more than kMaxRank dimensions, a negative number, or an element count
  // (of the dimensions that are numbers) that overflows 64 bits.
  Shape(std::initializer_list<Dim> dims) : Shape(std::vector<Dim>(dims)) {}
  explicit Shape(std::vector<Dim> dims);
  static Shape of(const std::vector<int64_t>& dims);
  // Parses "[batch,784]".
  static Shape parse(std::string_view text);

  int rank() const { return dims_ ? static_cast<int>(dims_->size()) : 0; }
  // Throws GraphError where the axis is not in [0, rank).
  const Dim& operator[](int axis) const {
    if (axis < 0 || axis >= rank()) fail_axis(axis);
    return (*dims_)[axis];
  }
  const std::vector<Dim>& dims() const;
  std::vector<Dim>::const_iterator begin() const { return dims().begin(); }
  std::vector<Dim>::const_iterator end() const { return dims().end(); }

  bool is_static() const;                    // no symbols left
  Dim element_count() const;                 // 1 for a scalar
  std::vector<int64_t> static_dims() const;  // throws GraphError where a symbol remains
  Shape substitute(const DimBindings& bindings) const;
  size_t hash() const;

  friend bool operator==(const Shape& a, const Shape& b) {
    return a.dims_ == b.dims_ || a.dims() == b.dims();
  }

 private:
  [[noreturn]] void fail_axis(int axis) const;

  std::shared_ptr<const std::vector<Dim>> dims_;  // null for a scalar
};

struct Type {
  DType dtype = DType::f32;
  Shape shape;

  // Parses "f32[batch,784]"; a scalar is "f32[]".
  static Type parse(std::string_view text);
  bool operator==(const Type&) const = default;
};

// Whether substituting numbers for symbols can make `declared` into `type`: equal element types and
// ranks, and equal dimensions wherever `declared` has a number.
bool is_instance(const Type& type, const Type& declared);

std::string to_text(const Shape& shape);  // "[batch,784]"
std::string to_text(const Type& type);    // "f32[batch,784]"

// The axis counted from the front; negative axes count from the back (-1 is the last). Throws
// GraphError where it is out of range.
int normalize_axis(int64_t axis, int rank);
// Normalised, sorted, checked for duplicates; an empty list means all axes.
std::vector<int> normalize_axes(const std::vector<int64_t>& axes, int rank);

// numpy's broadcasting of two shapes: aligned at the last dimension; each pair equal or one of them
// 1. A symbol meets only itself or 1. Throws GraphError naming the dimensions.
Shape broadcast_shapes(const Shape& a, const Shape& b);

}  // namespace adjoint
