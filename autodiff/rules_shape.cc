// Moving elements is linear: each rule moves the cotangent back.
#include <algorithm>

#include "autodiff/standard_rules.h"
#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/shape.h"

namespace adjoint {
namespace {

using C = const RuleContext&;

Value dy(C c) { return c.cotangent(); }
Value x(C c) { return c.operand(0); }

Value transpose_rule(C c) {
  const auto& permutation = c.attributes<TransposeAttributes>().permutation;
  std::vector<int64_t> inverse(permutation.size());
  for (size_t i = 0; i < permutation.size(); ++i) inverse[permutation[i]] = i;
  return transpose(dy(c), inverse);
}

// The operand's own part of the cotangent.
Value concat_rule(C c) {
  const int axis = static_cast<int>(c.attributes<AxisAttributes>().axis);
  Dim start(0);
  for (size_t i = 0; i < c.index(); ++i) start = start + c.operand(i).shape()[axis];
  return slice_axis(dy(c), axis, start, start + c.operand(c.index()).shape()[axis]);
}

Value split_rule(C c) {
  const auto& [axis, sizes] = c.attributes<SplitAttributes>();
  std::vector<Value> parts;
  for (int i = 0; i < sizes.rank(); ++i) parts.push_back(c.cotangent(i));
  return concat(parts, axis);
}

// Puts zeros in the places that the slice left out.
Value slice_rule(C c) {
  const auto& slice = c.attributes<SliceAttributes>();
  const Shape& shape = x(c).shape();
  std::vector<Dim> high;
  std::vector<int64_t> interior;
  for (int d = 0; d < shape.rank(); ++d) {
    const int64_t step = slice.step(d);
    const Dim& count = dy(c).shape()[d];
    const Dim covered = count == Dim(0) ? Dim(0) : (count - 1) * step + 1;
    high.push_back(shape[d] - slice.starts[d] - covered);
    interior.push_back(step - 1);
  }
  if (slice.steps.empty()) interior.clear();
  return pad(dy(c), slice.starts, Shape(std::move(high)), std::move(interior));
}

// Takes back the places where the elements went.
Value pad_rule(C c) {
  const auto& pad = c.attributes<PadAttributes>();
  const Shape& shape = x(c).shape();
  std::vector<Dim> limits;
  std::vector<int64_t> steps;
  for (int d = 0; d < shape.rank(); ++d) {
    const int64_t step = pad.interior_of(d) + 1;
    const Dim covered = shape[d] == Dim(0) ? Dim(0) : (shape[d] - 1) * step + 1;
    limits.push_back(pad.low[d] + covered);
    steps.push_back(step);
  }
  if (pad.interior.empty()) steps.clear();
  return slice(dy(c), pad.low, Shape(std::move(limits)), std::move(steps));
}

Value gather_rule(C c) {
  return scatter_add(zeros_like(x(c)), c.operand(1), dy(c), c.attributes<AxisAttributes>().axis);
}

Value scatter_add_updates_rule(C c) {
  return gather(dy(c), c.operand(1), c.attributes<AxisAttributes>().axis);
}

std::vector<Value> starts_of(C c, size_t first) {
  std::vector<Value> starts;
  for (size_t i = first; i < c.operand_count(); ++i) starts.push_back(c.operand(i));
  return starts;
}

Value dynamic_slice_rule(C c) {
  return dynamic_update_slice(zeros_like(x(c)), dy(c), starts_of(c, 1));
}

Value dynamic_update_slice_rule(C c) {
  return dynamic_update_slice(dy(c), zeros_like(c.operand(1)), starts_of(c, 2));
}

Value dynamic_update_slice_update_rule(C c) {
  return dynamic_slice(dy(c), starts_of(c, 2), c.operand(1).shape());
}

void add_indexing_rules(RuleSet& rules) {
  rules.add(kGather, {gather_rule, NoGradient::kIndices});
  rules.add(kScatterAdd, {dy, NoGradient::kIndices, scatter_add_updates_rule});
  rules.add(kOneHot, {NoGradient::kIndices});
  rules.add(kDynamicSlice, {dynamic_slice_rule, NoGradient::kIndices});
  rules.add(kDynamicUpdateSlice,
            {dynamic_update_slice_rule, dynamic_update_slice_update_rule, NoGradient::kIndices});
}

}  // namespace

void add_shape_rules(RuleSet& rules) {
  rules.add(kReshape, {[](C c) { return reshape(dy(c), x(c).shape()); }});
  rules.add(kTranspose, {transpose_rule});
  rules.add(kBroadcastTo, {dy});  // the pass sums back
  rules.add(kSumTo, {[](C c) { return broadcast_to(dy(c), x(c).shape()); }});
  rules.add(kConcat, {concat_rule});
  rules.add(kSplit, {split_rule});
  rules.add(kSlice, {slice_rule});
  rules.add(kPad, {pad_rule});
  rules.add(kSqueeze,
            {[](C c) { return expand_dims(dy(c), c.attributes<AxesAttributes>().axes); }});
  rules.add(kExpandDims, {[](C c) {
              const auto& axes = c.attributes<AxesAttributes>().axes;
              return axes.empty() ? dy(c) : squeeze(dy(c), axes);
            }});
  rules.add(kDimSize, {NoGradient::kShapeOnly});
  add_indexing_rules(rules);
}

}  // namespace adjoint
