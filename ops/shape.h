// Shape ops: they move, repeat or sum elements, of any element type unless said.
//
//   Value rows = reshape(images, {batch, -1});       // [batch,28,28,1] -> [batch,784]
//   Value wide = concat({a, b}, /*axis=*/1);
//   Value even = slice(x, {0}, {n}, /*steps=*/{2});  // x[0:n:2]
//
// Builders take negative axes, counted from the back; nodes store them from the front. All throw
// GraphError naming the op, the types and the user's line. Dimensions may be symbolic everywhere:
// what cannot be decided yet is checked when the numbers are known.
#pragma once

#include <span>
#include <vector>

#include "graph/block.h"

namespace adjoint {

extern const OpDef kReshape, kTranspose, kBroadcastTo, kSumTo, kConcat, kSlice, kPad, kSplit,
    kSqueeze, kExpandDims, kDimSize;

// Those, and the ops of ops/indexing.h.
std::span<const OpDef* const> shape_ops();

struct ShapeAttributes {  // reshape, broadcast_to, sum_to
  Shape shape;
  static constexpr auto fields() { return std::tuple{Field{"shape", &ShapeAttributes::shape}}; }
};
struct TransposeAttributes {
  std::vector<int64_t> permutation;
  static constexpr auto fields() {
    return std::tuple{Field{"permutation", &TransposeAttributes::permutation}};
  }
};
struct AxisAttributes {  // concat, gather, scatter_add, dim_size
  int64_t axis = 0;
  static constexpr auto fields() { return std::tuple{Field{"axis", &AxisAttributes::axis}}; }
};
struct AxesAttributes {  // squeeze, expand_dims
  std::vector<int64_t> axes;
  static constexpr auto fields() { return std::tuple{Field{"axes", &AxesAttributes::axes}}; }
};
struct SliceAttributes {
  Shape starts;
  Shape limits;
  std::vector<int64_t> steps;  // empty: all 1
  static constexpr auto fields() {
    return std::tuple{Field{"starts", &SliceAttributes::starts},
                      Field{"limits", &SliceAttributes::limits},
                      Field{"steps", &SliceAttributes::steps}};
  }
  int64_t step(int axis) const { return steps.empty() ? 1 : steps[axis]; }
};
struct PadAttributes {
  Shape low;
  Shape high;
  std::vector<int64_t> interior;  // empty: all 0
  double value = 0;
  static constexpr auto fields() {
    return std::tuple{Field{"low", &PadAttributes::low}, Field{"high", &PadAttributes::high},
                      Field{"interior", &PadAttributes::interior},
                      Field{"value", &PadAttributes::value}};
  }
  int64_t interior_of(int axis) const { return interior.empty() ? 0 : interior[axis]; }
};
struct SplitAttributes {
  int64_t axis = 0;
  Shape sizes;
  static constexpr auto fields() {
    return std::tuple{Field{"axis", &SplitAttributes::axis},
                      Field{"sizes", &SplitAttributes::sizes}};
  }
};

// The dimensions of a reshape: as Shape, but one of them may be -1.
class ReshapeDims {
 public:
  ReshapeDims(const Shape& shape) : dims_(shape.dims()) {}        // NOLINT
  ReshapeDims(std::initializer_list<Dim> dims) : dims_(dims) {}   // NOLINT
  ReshapeDims(std::vector<Dim> dims) : dims_(std::move(dims)) {}  // NOLINT
  const std::vector<Dim>& dims() const { return dims_; }

 private:
  std::vector<Dim> dims_;
};

// The same elements in row-major order; the element counts must be equal as expressions. A -1
// stands for what is left, which must come out whole (numpy).
Value reshape(Located x, const ReshapeDims& dims);

// result[i_p0, i_p1, ...] = x[i_0, i_1, ...]: dimension k of the result is dimension permutation[k]
// of x (numpy). Without a permutation the dimensions are reversed.
Value transpose(Located x, std::vector<int64_t> permutation);
Value transpose(Located x);

// numpy's broadcasting: dimensions of size 1, and new ones at the front, repeat.
Value broadcast_to(Located x, const Shape& shape);
// The reverse: sums over what broadcast_to(result, x.shape) would have repeated (numbers); x itself
// where that is nothing.
Value sum_to(Located x, const Shape& shape);

// One after the other along `axis`; the other dimensions and the element types are equal.
Value concat(const std::vector<Value>& values, int64_t axis,
             std::source_location where = std::source_location::current());
// Values of one type along a new axis, its position being that in the result; a builder only.
Value stack(const std::vector<Value>& values, int64_t axis = 0,
            std::source_location where = std::source_location::current());

// x[start:limit:step] on every axis: 0 <= start <= limit <= dimension, step >= 1, one entry of each
// list per axis. A result dimension is ceil((limit - start) / step).
Value slice(Located x, const Shape& starts, const Shape& limits, std::vector<int64_t> steps = {});
// The same along one axis, all of the others.
Value slice_axis(Located x, int64_t axis, const Dim& start, const Dim& limit, int64_t step = 1);

// `value`, rounded to x's type, around and (interior) between the elements. A result dimension is
// low + d + (d - 1) * interior + high (none between where d is 0; a symbolic d counts as at least
// 1).
Value pad(Located x, const Shape& low, const Shape& high, std::vector<int64_t> interior = {},
          double value = 0);

// Parts along `axis`; the sizes add up to the dimension.
std::vector<Value> split(Located x, int64_t axis, const Shape& sizes);

// Drops dimensions of size 1; without axes, all of them.
Value squeeze(Located x, std::vector<int64_t> axes = {});
// Puts in dimensions of size 1; the axes are positions in the result.
Value expand_dims(Located x, std::vector<int64_t> axes);

// The size of a dimension -> i64[]; a constant once it is known.
Value dim_size(Located x, int64_t axis);

// A tensor with every element `value` (rounded to the type): broadcast_to of a constant.
Value full(Block& block, const Type& type, double value,
           std::source_location where = std::source_location::current());
Value zeros_like(Located x);
Value ones_like(Located x);

}  // namespace adjoint
