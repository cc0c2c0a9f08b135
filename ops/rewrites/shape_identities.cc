// Exact identities of ops that move elements.
#include <algorithm>

#include "ops/linalg.h"
#include "ops/reduce.h"
#include "ops/rewrites/identities.h"
#include "ops/rewrites/match.h"

namespace adjoint {
namespace {

Value x(Site s) { return s.operands[0]; }

Value when_same_type(Site s) { return x(s).type() == s.node.types[0] ? x(s) : Value(); }

bool is_view(Value v) { return is(v, kReshape) || is(v, kSqueeze) || is(v, kExpandDims); }

// Ops that only rename the same elements in order: one of them is enough, or none.
Value view_view(Site s) {
  if (!is_view(x(s))) return {};
  const Value inner = operand(x(s));
  return inner.type() == s.node.types[0] ? inner : reshape(inner, s.node.types[0].shape);
}

Value transpose_none(Site s) {
  const auto& permutation = s.node.attributes.get<TransposeAttributes>().permutation;
  return std::is_sorted(permutation.begin(), permutation.end()) ? x(s) : Value();
}

Value transpose_transpose(Site s) {
  if (!is(x(s), kTranspose)) return {};
  const auto& outer = s.node.attributes.get<TransposeAttributes>().permutation;
  const auto& inner = x(s).node().attributes.get<TransposeAttributes>().permutation;
  std::vector<int64_t> both;
  for (int64_t axis : outer) both.push_back(inner[axis]);
  return transpose(operand(x(s)), both);
}

Value slice_all(Site s) {
  const auto& slice = s.node.attributes.get<SliceAttributes>();
  for (int d = 0; d < x(s).rank(); ++d) {
    if (slice.step(d) != 1) return {};
  }
  return when_same_type(s);
}

Value slice_slice(Site s) {
  if (!is(x(s), kSlice)) return {};
  const auto& outer = s.node.attributes.get<SliceAttributes>();
  const auto& inner = x(s).node().attributes.get<SliceAttributes>();
  if (!outer.steps.empty() || !inner.steps.empty()) return {};
  std::vector<Dim> starts, limits;
  for (int d = 0; d < x(s).rank(); ++d) {
    starts.push_back(inner.starts[d] + outer.starts[d]);
    limits.push_back(inner.starts[d] + outer.limits[d]);
  }
  return slice(operand(x(s)), Shape(std::move(starts)), Shape(std::move(limits)));
}

Value dim_size_known(Site s) {
  const int axis = static_cast<int>(s.node.attributes.get<AxisAttributes>().axis);
  const auto size = x(s).shape()[axis].constant();
  return size ? constant(s.block, Literal::integer(*size)) : Value();
}

// Over axes of size 1 there is one element, which is its own maximum and product.
Value reduce_one(Site s) {
  const auto axes = reduced_axes(s.node.attributes.get<ReduceAttributes>(), x(s).rank());
  for (int axis : axes) {
    if (x(s).shape()[axis] != Dim(1)) return {};
  }
  const Shape& shape = s.node.types[0].shape;
  return x(s).shape() == shape ? x(s) : reshape(x(s), shape);
}

// A transpose of the last two axes alone, which a product can read in place.
bool swaps_last_two(Value v) {
  if (!is(v, kTranspose)) return false;
  const auto& permutation = v.node().attributes.get<TransposeAttributes>().permutation;
  const auto rank = static_cast<int64_t>(permutation.size());
  if (rank < 2 || permutation[rank - 1] != rank - 2 || permutation[rank - 2] != rank - 1) {
    return false;
  }
  return std::is_sorted(permutation.begin(), permutation.end() - 2);
}

Value matmul_transpose(Site s) {
  MatmulAttributes attributes = s.node.attributes.get<MatmulAttributes>();
  Value a = s.operands[0];
  Value b = s.operands[1];
  if (swaps_last_two(a)) {
    attributes.transpose_a = !attributes.transpose_a;
    a = operand(a);
  }
  if (swaps_last_two(b)) {
    attributes.transpose_b = !attributes.transpose_b;
    b = operand(b);
  }
  return a == s.operands[0] && b == s.operands[1] ? Value() : matmul(a, b, attributes);
}

constexpr Identity kIdentities[] = {
    {"reshape_same", "reshape(x) = x to its own shape", &kReshape, when_same_type},
    {"squeeze_none", "squeeze(x) = x over no axes", &kSqueeze, when_same_type},
    {"expand_none", "expand_dims(x) = x for no axes", &kExpandDims, when_same_type},
    {"reshape_view", "reshape(v(x)) = reshape(x), v a reshape, squeeze or expand_dims", &kReshape,
     view_view},
    {"squeeze_view", "squeeze(v(x)) = reshape(x)", &kSqueeze, view_view},
    {"expand_view", "expand_dims(v(x)) = reshape(x)", &kExpandDims, view_view},
    {"transpose_none", "transpose(x) = x in the order that is there", &kTranspose, transpose_none},
    {"transpose_transpose", "transpose(transpose(x)) = transpose(x)", &kTranspose,
     transpose_transpose},
    {"broadcast_same", "broadcast_to(x) = x to its own shape", &kBroadcastTo, when_same_type},
    {"broadcast_broadcast", "broadcast_to(broadcast_to(x)) = broadcast_to(x)", &kBroadcastTo,
     [](Site s) {
       return is(x(s), kBroadcastTo) ? broadcast_to(operand(x(s)), s.node.types[0].shape) : Value();
     }},
    {"sum_to_same", "sum_to(x) = x to its own shape", &kSumTo, when_same_type},
    {"concat_one", "concat(x) = x", &kConcat,
     [](Site s) { return s.operands.size() == 1 ? x(s) : Value(); }},
    {"split_one", "split(x) = x into one part", &kSplit,
     [](Site s) { return s.node.types.size() == 1 ? x(s) : Value(); }},
    {"slice_all", "slice(x) = x of all", &kSlice, slice_all},
    {"slice_slice", "slice(slice(x)) = slice(x) without steps", &kSlice, slice_slice},
    {"pad_none", "pad(x) = x by nothing", &kPad, when_same_type},
    {"dim_size_known", "dim_size(x) = a constant, once it is a number", &kDimSize, dim_size_known},
    {"max_one", "max(x) = reshape(x) over one element", &kMax, reduce_one},
    {"min_one", "min(x) = reshape(x) over one element", &kMin, reduce_one},
    {"prod_one", "prod(x) = reshape(x) over one element", &kProd, reduce_one},
    {"matmul_transpose", "matmul(transpose(a), b) = matmul(a, b) {ta}", &kMatmul, matmul_transpose},
};

}  // namespace

std::span<const Identity> shape_identities() { return kIdentities; }

}  // namespace adjoint
