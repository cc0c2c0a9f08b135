#include "graph/shape.h"

#include <algorithm>
#include <utility>

#include "graph/error.h"

namespace adjoint {

Shape::Shape(std::vector<Dim> dims) {
  if (dims.size() > static_cast<size_t>(kMaxRank)) {
    throw GraphError("a shape has at most " + std::to_string(kMaxRank) + " dimensions, not " +
                     std::to_string(dims.size()));
  }
  int64_t count = 1;
  bool empty = false;
  for (const Dim& dim : dims) {
    if (!dim.is_constant()) continue;
    if (dim.value() < 0) throw GraphError("negative dimension " + dim.to_text());
    if (dim.value() == 0) empty = true;
  }
  for (const Dim& dim : dims) {
    if (empty || !dim.is_constant()) continue;
    if (__builtin_mul_overflow(count, dim.value(), &count)) {
      throw GraphError("the element count of the shape overflows 64 bits");
    }
  }
  if (!dims.empty()) dims_ = std::make_shared<const std::vector<Dim>>(std::move(dims));
}

Shape Shape::of(const std::vector<int64_t>& dims) {
  return Shape(std::vector<Dim>(dims.begin(), dims.end()));
}

Shape Shape::parse(std::string_view text) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') {
    throw GraphError("not a shape: '" + std::string(text) + "'");
  }
  std::string_view inner = text.substr(1, text.size() - 2);
  std::vector<Dim> dims;
  while (!inner.empty()) {
    const size_t comma = inner.find(',');
    dims.push_back(Dim::parse(inner.substr(0, comma)));
    if (comma == std::string_view::npos) break;
    inner.remove_prefix(comma + 1);
    if (inner.empty()) throw GraphError("not a shape: '" + std::string(text) + "'");
  }
  return Shape(std::move(dims));
}

const std::vector<Dim>& Shape::dims() const {
  static const std::vector<Dim> kScalar;
  return dims_ ? *dims_ : kScalar;
}

void Shape::fail_axis(int axis) const {
  throw GraphError("axis " + std::to_string(axis) + " is out of range for " + to_text(*this));
}

bool Shape::is_static() const {
  return std::all_of(begin(), end(), [](const Dim& dim) { return dim.is_constant(); });
}

Dim Shape::element_count() const {
  Dim count(1);
  for (const Dim& dim : dims()) {
    if (dim == Dim(0)) return Dim(0);
  }
  for (const Dim& dim : dims()) count = count * dim;
  return count;
}

std::vector<int64_t> Shape::static_dims() const {
  std::vector<int64_t> result;
  for (const Dim& dim : dims()) result.push_back(dim.value());
  return result;
}

Shape Shape::substitute(const DimBindings& bindings) const {
  if (is_static()) return *this;
  std::vector<Dim> result;
  for (const Dim& dim : dims()) result.push_back(dim.substitute(bindings));
  return Shape(std::move(result));
}

size_t Shape::hash() const {
  size_t seed = rank();
  for (const Dim& dim : dims()) seed = seed * 1000003u + dim.hash();
  return seed;
}

Type Type::parse(std::string_view text) {
  const size_t bracket = text.find('[');
  if (bracket == std::string_view::npos) {
    throw GraphError("not a tensor type: '" + std::string(text) + "'");
  }
  return {parse_dtype(text.substr(0, bracket)), Shape::parse(text.substr(bracket))};
}

bool is_instance(const Type& type, const Type& declared) {
  if (type.dtype != declared.dtype || type.shape.rank() != declared.shape.rank()) return false;
  for (int axis = 0; axis < type.shape.rank(); ++axis) {
    const Dim& wanted = declared.shape[axis];
    if (wanted.is_constant() && wanted != type.shape[axis]) return false;
  }
  return true;
}

std::string to_text(const Shape& shape) {
  std::string text = "[";
  for (const Dim& dim : shape) {
    if (text.size() > 1) text += ',';
    text += dim.to_text();
  }
  return text + "]";
}

std::string to_text(const Type& type) {
  return std::string(name(type.dtype)) + to_text(type.shape);
}

int normalize_axis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    throw GraphError("axis " + std::to_string(axis) + " is out of range for rank " +
                     std::to_string(rank));
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

std::vector<int> normalize_axes(const std::vector<int64_t>& axes, int rank) {
  std::vector<int> result;
  for (int64_t axis : axes) result.push_back(normalize_axis(axis, rank));
  if (axes.empty()) {
    for (int axis = 0; axis < rank; ++axis) result.push_back(axis);
  }
  std::sort(result.begin(), result.end());
  if (auto twice = std::adjacent_find(result.begin(), result.end()); twice != result.end()) {
    throw GraphError("axis " + std::to_string(*twice) + " is named twice");
  }
  return result;
}

Shape broadcast_shapes(const Shape& a, const Shape& b) {
  if (a == b) return a;
  const int rank = std::max(a.rank(), b.rank());
  std::vector<Dim> dims(rank);
  for (int back = 1; back <= rank; ++back) {
    const Dim left = back <= a.rank() ? a[a.rank() - back] : Dim(1);
    const Dim right = back <= b.rank() ? b[b.rank() - back] : Dim(1);
    if (left != right && left != Dim(1) && right != Dim(1)) {
      throw GraphError("shapes do not broadcast: " + to_text(a) + " and " + to_text(b) + " (" +
                       left.to_text() + " and " + right.to_text() + ")");
    }
    dims[rank - back] = left == Dim(1) ? right : left;
  }
  return Shape(std::move(dims));
}

}  // namespace adjoint
