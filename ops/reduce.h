// Reductions over some axes of a tensor.
//
//   Value loss = mean(losses);                          // over all axes -> a scalar
//   Value rows = sum(x, {-1}, /*keep=*/true);           // [batch,10] -> [batch,1]
//
// `axes` may be negative (counted from the back); none means all. `keep` leaves each reduced
// dimension as 1. All throw GraphError naming the op, the type and the user's line. NaN propagates.
#pragma once

#include <span>
#include <vector>

#include "graph/block.h"

namespace adjoint {

extern const OpDef kSum, kMean, kMax, kMin, kProd, kVariance, kLogsumexp, kArgmax, kArgmin;

std::span<const OpDef* const> reduce_ops();

struct ReduceAttributes {
  std::vector<int64_t> axes;  // sorted, from the front; empty: all
  bool keep = false;
  static constexpr auto fields() {
    return std::tuple{Field{"axes", &ReduceAttributes::axes},
                      Field{"keep", &ReduceAttributes::keep}};
  }
};
struct ArgReduceAttributes {
  int64_t axis = 0;
  bool keep = false;
  static constexpr auto fields() {
    return std::tuple{Field{"axis", &ArgReduceAttributes::axis},
                      Field{"keep", &ArgReduceAttributes::keep}};
  }
};

// The axes that are reduced in a tensor of this rank, all of them where the attribute is empty.
std::vector<int> reduced_axes(const ReduceAttributes& attributes, int rank);
// The shape with these axes (sorted) gone, or 1.
Shape reduced_shape(const Shape& shape, const std::vector<int>& axes, bool keep);

// Numbers; integers wrap. Over nothing: 0.
Value sum(Located x, std::vector<int64_t> axes = {}, bool keep = false);
// Floats: sum / n. Over nothing: NaN.
Value mean(Located x, std::vector<int64_t> axes = {}, bool keep = false);
// Numbers. Over nothing: -inf for floats, else the lowest number. The gradient is shared equally
// among the elements that equal the maximum (JAX).
Value max(Located x, std::vector<int64_t> axes = {}, bool keep = false);
// Likewise; over nothing: inf, or the highest number.
Value min(Located x, std::vector<int64_t> axes = {}, bool keep = false);
// Numbers; integers wrap. Over nothing: 1. The gradient is the product of the other elements, right
// also where some are 0 (there, not the gradient of the gradient).
Value prod(Located x, std::vector<int64_t> axes = {}, bool keep = false);
// Floats: the population's, mean((x - mean(x))^2). Over nothing: NaN.
Value variance(Located x, std::vector<int64_t> axes = {}, bool keep = false);
// Floats: log(sum(e^x)), with the maximum taken out first. Over nothing: -inf.
Value logsumexp(Located x, std::vector<int64_t> axes = {}, bool keep = false);

// Numbers -> i64: the place of the largest (smallest) element along one axis; the first of equal
// ones, the first NaN before all. The axis must not be empty (GraphError).
Value argmax(Located x, int64_t axis, bool keep = false);
Value argmin(Located x, int64_t axis, bool keep = false);

// The number of elements along these axes of x as a scalar of type `dtype`: a constant where it is
// known, else from dim_size nodes.
Value count_of(Located x, const std::vector<int>& axes, DType dtype);

}  // namespace adjoint
