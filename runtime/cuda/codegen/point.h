// The code that computes values of a region's body at one point of an index space.
//
//   PointWriter point(body, space);
//   std::string name = point.value(body.results()[0].value, identity_map(dims));
//   point.loads();   // what must be read before: x0 = input 0 at address i0 ...
//   point.lines();   // const float t0 = scalar::add(x0, x1); which depends on these axes
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "graph/block.h"
#include "runtime/cuda/codegen/space.h"

namespace adjoint::cuda {

// One axis of a value as a function of the point: offset + scale * coordinate[axis].
struct AxisMap {
  int64_t offset = 0;
  int axis = -1;  // of the space; -1: always `offset`
  int64_t scale = 0;
  auto operator<=>(const AxisMap&) const = default;
};
using PointMap = std::vector<AxisMap>;  // by axis of the value
PointMap identity_map(const std::vector<int64_t>& dims);

// Whether the op computes its elements point by point.
bool is_pointwise(const Node& node);
// Whether values of this node can be computed point by point, from operands that can, or that are
// arguments where the op reads them at places of its own (gather, pad ...).
bool is_pointwise(const Block& body, const Node& node);
// The operands that must be arguments: nothing computed in the same region.
bool reads_freely(const Node& node, size_t operand);
// Whether a gather's indices are in range by what computes them.
bool gathers_in_range(const Block& block, const Node& gather);

class PointWriter {
 public:
  PointWriter(const Block& body, Space& space) : body_(body), space_(space) {}

  struct Load {
    int input = 0;
    DType dtype = DType::f32;
    int affine = 0;
    std::string name;
  };
  struct Line {
    std::string text;
    Axes axes = 0;  // of the space: where these stay, so does the value
  };

  // The value has been computed already: `name` holds it at the mapped point.
  void give(ValueId id, const PointMap& map, std::string name) {
    known_[{id, map}] = std::move(name);
  }
  // The variable that holds the value at the mapped point.
  std::string value(ValueId id, const PointMap& map);

  const std::vector<Load>& loads() const { return loads_; }
  const std::vector<Line>& lines() const { return lines_; }
  // Inputs that are read otherwise than by `loads`.
  const std::vector<int>& free_reads() const { return free_reads_; }
  // Whether what changes along these axes takes longer to compute than several elements to move.
  bool takes_long(Axes axes) const { return (long_axes_ & axes) != 0; }
  int operations() const { return static_cast<int>(lines_.size()); }

 private:
  std::string compute(ValueId id, const PointMap& map);
  std::string load(ValueId id, const PointMap& map);
  std::string constant(const Node& node) const;
  std::string scalar(const Node& node, const PointMap& map);
  std::string moved(const Node& node, const PointMap& map);
  std::string gather(const Node& node, const PointMap& map);
  std::string pad(const Node& node, const PointMap& map);
  std::string concat(const Node& node, const PointMap& map);
  std::string one_hot(const Node& node, const PointMap& map);
  std::string dynamic_slice(const Node& node, const PointMap& map);
  std::string random(const Node& node, const PointMap& map);
  std::string permute_index(const Node& node, const PointMap& map);

  std::string define(DType dtype, const std::string& expression, const PointMap& map);
  std::string read(ValueId argument, const std::string& index);
  int add_address(const std::vector<int64_t>& strides, const PointMap& map);
  std::string address(const std::vector<int64_t>& strides, const PointMap& map);
  std::string coordinate(const AxisMap& map);
  std::string operand(const Node& node, size_t index, const PointMap& map);
  std::vector<int64_t> dims(ValueId id) const;
  int input_of(ValueId argument) const;

  const Block& body_;
  Space& space_;
  std::map<std::pair<ValueId, PointMap>, std::string> known_;
  std::vector<Load> loads_;
  std::vector<Line> lines_;
  std::vector<int> free_reads_;
  Axes long_axes_ = 0;
};

}  // namespace adjoint::cuda
