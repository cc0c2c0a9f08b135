#include <algorithm>
#include <cstring>

#include "ops/reduce.h"
#include "ops/region.h"
#include "ops/shape.h"
#include "runtime/cpu/kernels/region/limits.h"
#include "runtime/cpu/kernels/region/program.h"

namespace adjoint::cpu {
namespace {

using Dims = std::vector<int64_t>;

// The size along an axis of a space of this rank, which is at least the dimensions' own: leading
// ones change nothing.
int64_t size_along(const Dims& dims, size_t rank, size_t axis) {
  const size_t added = rank - dims.size();
  return axis < added ? 1 : dims[axis - added];
}

// The axes that a reduction node takes away from an operand of these dimensions; nothing where the
// node is no reduction.
std::optional<std::vector<int>> axes_of(const Node& node, const Dims& in, const Dims& out) {
  if (node.attributes.holds<ReduceAttributes>()) {
    return reduced_axes(node.attributes.get<ReduceAttributes>(), static_cast<int>(in.size()));
  }
  if (node.op->name != "sum_to") return std::nullopt;
  std::vector<int> axes;
  for (size_t axis = 0; axis < in.size(); ++axis) {
    if (size_along(out, in.size(), axis) == 1) axes.push_back(static_cast<int>(axis));
  }
  return axes;
}

}  // namespace

// Collects a region's values, instructions and reductions, then decides where each value lies.
class RegionCompiler {
 public:
  explicit RegionCompiler(const KernelRequest& request) : request_(request) {}

  std::optional<RegionProgram> compile() {
    if (!(request_.node.blocks.empty() ? collect_node() : collect_block())) return std::nullopt;
    if (values_.size() > kMaxRegionValues) return std::nullopt;
    std::erase_if(reductions_, [](const Reduction& reduction) { return reduction.output < 0; });
    find_space();
    if (!shapes_agree()) return std::nullopt;
    // Smaller tiles where many values are alive at once.
    for (int64_t tile = kMaxTile; tile >= 64; tile /= 2) {
      if (RegionProgram program = place(tile); scratch_bytes_ <= kScratchBytes) {
        share_out(program);
        find_in_place(program);
        return program;
      }
    }
    return std::nullopt;
  }

 private:
  using Place = RegionProgram::Place;

  // A value of the body. Broadcasts are the value that they broadcast, in a larger shape.
  struct Value {
    DType dtype;
    Dims dims;   // as ops inside see it
    int source;  // the value whose elements it has: itself, except for a broadcast
    int input = -1;
    bool constant = false;
    std::array<std::byte, 8> element = {};
    int output = -1;      // the first result that it is
    int last_use = -1;    // the last instruction that reads it; past the end for a reduction
    int defined_by = -1;  // the instruction
  };
  struct Reduction {
    const TileReduce* kernel;
    int value;
    std::vector<int> axes;
    int output = -1;
    Dims dims;
  };
  // What a node's output is: a value, or a reduction.
  struct Result {
    int value = -1;
    int reduction = -1;
  };

  int add_value(const TensorType& type) {
    values_.push_back({type.dtype, type.dims, static_cast<int>(values_.size())});
    return static_cast<int>(values_.size()) - 1;
  }
  int add_input(int input) {
    const int value = add_value(request_.inputs[input]);
    values_[value].input = input;
    return value;
  }

  // A node of one op on all the request's inputs.
  bool collect_node() {
    std::vector<Result> operands;
    for (size_t i = 0; i < request_.inputs.size(); ++i) {
      operands.push_back({add_input(static_cast<int>(i))});
    }
    const std::optional<Result> result = add_node(request_.node, operands, request_.outputs[0]);
    return result && add_output(*result);
  }

  bool collect_block() {
    const Block& block = request_.region();
    std::vector<Result> results(block.size());
    int inputs = 0;
    for (int32_t i = 0; i < static_cast<int32_t>(block.size()); ++i) {
      const Node& node = block.node(i);
      if (node.op == &kArgument) {
        results[i] = {add_input(inputs++)};
        continue;
      }
      std::vector<Result> operands;
      for (ValueId id : node.operands) operands.push_back(results[id.node]);
      const std::optional<Result> result = add_node(node, operands, concrete(node.types[0]));
      if (!result) return false;
      results[i] = *result;
    }
    return std::all_of(block.results().begin(), block.results().end(),
                       [&](const auto& result) { return add_output(results[result.value.node]); });
  }

  std::optional<Result> add_node(const Node& node, const std::vector<Result>& operands,
                                 const TensorType& type) {
    if (node.op == &kConstant) return add_constant(node);
    for (const Result& operand : operands) {
      if (operand.value < 0) return std::nullopt;  // reads a reduction
    }
    if (node.op->name == "broadcast_to" || node.op->name == "stop_gradient") {
      const int value = add_value(type);
      values_[value].source = values_[operands[0].value].source;
      return Result{value};
    }
    if (node.op->traits.elementwise) return add_instruction(node, operands, type);
    return add_reduction(node, operands, type);
  }

  std::optional<Result> add_constant(const Node& node) {
    const Literal& literal = node.attributes.get<ConstantAttributes>().value;
    if (literal.element_count() == 0 || !literal.is_uniform()) return std::nullopt;
    const int value = add_value({literal.dtype(), literal.dims()});
    values_[value].constant = true;
    std::memcpy(values_[value].element.data(), literal.data(), size_of(literal.dtype()));
    return Result{value};
  }

  std::optional<Result> add_instruction(const Node& node, const std::vector<Result>& operands,
                                        const TensorType& type) {
    const DType in = values_[operands.back().value].dtype;
    const MicroEntry* micro = find_micro_kernel(node.op->name, in, type.dtype);
    if (micro == nullptr || operands.size() > 3) return std::nullopt;
    RegionProgram::Instruction instruction;
    instruction.kernel = micro->kernel;
    if (micro->parameters) instruction.parameters = micro->parameters(node.attributes);
    for (const Result& operand : operands) {
      instruction.in[instruction.operands++] = read(operand.value);
    }
    return Result{append(instruction, type)};
  }

  // The source of a value, marked as read by the next instruction.
  int read(int value) {
    const int source = values_[value].source;
    int& last_use = values_[source].last_use;
    last_use = std::max(last_use, static_cast<int>(instructions_.size()));
    return source;
  }

  int append(RegionProgram::Instruction instruction, const TensorType& type) {
    const int value = add_value(type);
    values_[value].defined_by = static_cast<int>(instructions_.size());
    instruction.out = value;
    instructions_.push_back(instruction);
    shape_givers_.push_back(value);
    return value;
  }

  std::optional<Result> add_reduction(const Node& node, const std::vector<Result>& operands,
                                      const TensorType& type) {
    const Value& operand = values_[operands[0].value];
    const auto axes = axes_of(node, operand.dims, type.dims);
    const std::string_view kind = node.op->name == "sum_to" ? "sum" : node.op->name;
    const TileReduce* kernel = axes ? find_tile_reduce(kind, operand.dtype) : nullptr;
    if (kernel == nullptr) return std::nullopt;
    shape_givers_.push_back(operands[0].value);
    values_[operand.source].last_use = kAfterAll;
    reductions_.push_back({kernel, operands[0].value, *axes, -1, type.dims});
    return Result{-1, static_cast<int>(reductions_.size()) - 1};
  }

  bool add_output(const Result& result) {
    const int output = outputs_++;
    if (result.value < 0) {
      Reduction& reduction = reductions_[result.reduction];
      if (reduction.output >= 0) return false;  // the same reduction twice
      reduction.output = output;
      return true;
    }
    int value = result.value;
    const Value& source = values_[values_[value].source];
    if (source.output >= 0 || source.input >= 0 || source.constant) value = append_copy(value);
    values_[values_[value].source].output = output;
    return true;
  }

  int append_copy(int value) {
    const TensorType type = {values_[value].dtype, values_[value].dims};
    RegionProgram::Instruction copy;
    copy.kernel = find_micro_kernel("stop_gradient", type.dtype, type.dtype)->kernel;
    copy.operands = 1;
    copy.in[0] = read(value);
    return append(copy, type);
  }

  // The iteration space: the largest shape inside.
  void find_space() {
    size_t rank = 0;
    for (int value : shape_givers_) rank = std::max(rank, values_[value].dims.size());
    space_.assign(rank, 1);
    for (int value : shape_givers_) {
      for (size_t axis = 0; axis < rank; ++axis) {
        const int64_t size = size_along(values_[value].dims, rank, axis);
        if (size != 1) space_[axis] = size;
      }
    }
  }

  // Whether the dimensions broadcast to the space; `whole`: whether they are the space.
  bool fits(const Dims& dims, bool whole) const {
    if (dims.size() > space_.size()) return false;
    for (size_t axis = 0; axis < space_.size(); ++axis) {
      const int64_t size = size_along(dims, space_.size(), axis);
      if (size != space_[axis] && (whole || size != 1)) return false;
    }
    return true;
  }
  bool shapes_agree() const {
    return std::all_of(shape_givers_.begin(), shape_givers_.end(),
                       [&](int value) { return fits(values_[value].dims, true); }) &&
           std::all_of(values_.begin(), values_.end(),
                       [&](const Value& value) { return fits(value.dims, false); });
  }

  AxisMask mask_of(const Value& value) const {
    AxisMask mask(space_.size());
    for (size_t axis = 0; axis < space_.size(); ++axis) {
      const int64_t size = value.constant ? 1 : size_along(value.dims, space_.size(), axis);
      mask[axis] = size == space_[axis];
    }
    return mask;
  }
  AxisMask mask_of(const Reduction& reduction) const {
    AxisMask mask(space_.size(), true);
    const size_t added = space_.size() - values_[reduction.value].dims.size();
    for (int axis : reduction.axes) mask[added + axis] = false;
    return mask;
  }

  RegionProgram place(int64_t max_tile) {
    std::vector<AxisMask> masks;
    for (const Value& value : values_) masks.push_back(mask_of(value));
    for (const Reduction& reduction : reductions_) masks.push_back(mask_of(reduction));
    std::vector<Layout> layouts;
    RegionProgram program(Geometry(space_, masks, max_tile, layouts));
    program.instructions_ = instructions_;
    place_values(program, layouts, max_tile);
    for (size_t i = 0; i < reductions_.size(); ++i) {
      const Reduction& reduction = reductions_[i];
      RegionProgram::Reduction placed;
      placed.kernel = reduction.kernel;
      placed.value = values_[reduction.value].source;
      placed.output = reduction.output;
      placed.count = 1;
      for (int64_t dim : reduction.dims) placed.count *= dim;
      placed.size = 1;
      for (int axis : reduction.axes) placed.size *= values_[reduction.value].dims[axis];
      placed.layout = layouts[values_.size() + i];
      program.reductions_.push_back(placed);
    }
    return program;
  }

  // Decides for each value whether its tile is read where the tensor lies, copied out because it
  // repeats, or computed into scratch, which is used again after a value's last use.
  void place_values(RegionProgram& program, const std::vector<Layout>& layouts, int64_t max_tile) {
    const Geometry& geometry = program.geometry_;
    scratch_bytes_ = 0;
    free_.clear();
    for (size_t v = 0; v < values_.size(); ++v) {
      const Value& value = values_[v];
      Place place{.size = static_cast<int64_t>(size_of(value.dtype)), .layout = layouts[v]};
      const bool direct = place.layout.dense || (geometry.cuts_rows() && place.layout.inner);
      if (value.source != static_cast<int>(v) || (value.defined_by < 0 && value.last_use < 0)) {
        // A broadcast of another value, or not used: never looked at.
      } else if (value.output >= 0) {
        place.at = Place::At::output;
        place.index = value.output;
      } else if (value.input >= 0 && direct) {
        place.at = Place::At::input;
        place.index = value.input;
      } else if (value.defined_by < 0) {
        place.offset = take_slot(max_tile * place.size);
        const bool once = place.layout.one_row && (!place.layout.inner || !geometry.cuts_rows());
        program.expansions_.push_back({static_cast<int>(v), value.input, value.element, once});
      }
      program.places_.push_back(place);
    }
    for (size_t i = 0; i < instructions_.size(); ++i) {
      place_result(program, static_cast<int>(i), max_tile);
    }
  }

  void place_result(RegionProgram& program, int index, int64_t max_tile) {
    const RegionProgram::Instruction& instruction = instructions_[index];
    Place& out = program.places_[instruction.out];
    auto release = [&](int operand) {
      const Value& value = values_[operand];
      const Place& place = program.places_[operand];
      if (value.defined_by >= 0 && value.last_use == index && place.at == Place::At::scratch) {
        const int64_t bytes = max_tile * place.size;
        if (std::find(free_.begin(), free_.end(), std::pair(bytes, place.offset)) == free_.end()) {
          free_.emplace_back(bytes, place.offset);
        }
      }
    };
    auto operands = std::span(instruction.in).first(instruction.operands);
    // An operand of the same size that ends here may lie where the result will.
    for (int operand : operands) {
      if (program.places_[operand].size == out.size) release(operand);
    }
    if (out.at == Place::At::scratch) out.offset = take_slot(max_tile * out.size);
    for (int operand : operands) {
      if (program.places_[operand].size != out.size) release(operand);
    }
    if (values_[instruction.out].last_use < 0 && out.at == Place::At::scratch) {
      free_.emplace_back(max_tile * out.size, out.offset);
    }
  }

  int64_t take_slot(int64_t bytes) {
    const auto found = std::find_if(free_.begin(), free_.end(),
                                    [&](const auto& slot) { return slot.first == bytes; });
    if (found != free_.end()) {
      const int64_t offset = found->second;
      free_.erase(found);
      return offset;
    }
    const int64_t offset = scratch_bytes_;
    scratch_bytes_ += (bytes + 63) / 64 * 64;
    return offset;
  }

  // Chooses the shards.
  void share_out(RegionProgram& program) const {
    const Geometry& geometry = program.geometry_;
    const int64_t elements = geometry.element_count();
    const int64_t work = elements * (2 + std::ssize(instructions_) + std::ssize(reductions_));
    const int64_t shards = shard_count(work, kShardWork);
    RegionProgram::Sharding& sharding = program.sharding_;
    if (shards > 1) {
      const int64_t groups = kept_rows(program);
      const int64_t pieces =
          geometry.cuts_rows() ? (geometry.inner + kColumnUnit - 1) / kColumnUnit : 1;
      const bool inner_kept =
          std::all_of(program.reductions_.begin(), program.reductions_.end(),
                      [](const auto& reduction) { return reduction.layout.inner; });
      if (groups >= std::min<int64_t>(shards, kMinOwnedShards)) {
        sharding = {false, std::min(shards, groups), groups, true};
      } else if (inner_kept && pieces >= shards) {
        sharding = {true, shards, pieces, true};
      } else {
        const bool by_columns = geometry.rows < shards && pieces > geometry.rows;
        const int64_t units = by_columns ? pieces : geometry.rows;
        sharding = {by_columns, std::min({shards, units, affordable(program)}), units, false};
        if (sharding.shards == 1) sharding = {};
      }
    }
    int64_t bytes = 0;
    for (auto& reduction : program.reductions_) {
      reduction.offset = bytes;
      const int64_t arrays = sharding.owned ? 1 : sharding.shards;
      bytes += (arrays * reduction.count * kAccumulatorBytes + 63) / 64 * 64;
    }
    program.workspace_bytes_ = bytes;
  }

  // The number of leading groups of rows that have no result in common.
  int64_t kept_rows(const RegionProgram& program) const {
    int64_t groups = 1;
    for (size_t axis = 0; axis < program.geometry_.outer.size(); ++axis) {
      for (const auto& reduction : program.reductions_) {
        if (reduction.layout.outer[axis] == 0) return groups;
      }
      groups *= program.geometry_.outer[axis];
    }
    return groups;
  }

  // How many shards may have accumulators of their own: these take no more room than the elements.
  int64_t affordable(const RegionProgram& program) const {
    int64_t results = 0;
    for (const auto& reduction : program.reductions_) results += reduction.count;
    return results == 0 ? 64
                        : std::max<int64_t>(program.geometry_.element_count() / (4 * results), 1);
  }

  // An output may lie over an input that is read, element by element, only before it is written.
  void find_in_place(RegionProgram& program) const {
    for (size_t o = 0; o < values_.size(); ++o) {
      const Value& out = values_[o];
      if (out.output < 0) continue;
      for (size_t i = 0; i < request_.inputs.size(); ++i) {
        if (request_.inputs[i] != request_.outputs[out.output]) continue;
        if (may_lie_over(program, out, static_cast<int>(i))) {
          program.in_place_.emplace_back(out.output, static_cast<int>(i));
        }
      }
    }
  }

  bool may_lie_over(const RegionProgram& program, const Value& out, int input) const {
    const std::vector<ValueId>& operands = request_.node.operands;
    for (size_t v = 0; v < values_.size(); ++v) {
      const int other = values_[v].input;
      // The same tensor may be several operands.
      const bool same = other == input ||
                        (other >= 0 && operands.size() > 0 && operands[other] == operands[input]);
      if (!same || values_[v].last_use < 0) continue;
      if (!program.places_[v].layout.dense || values_[v].last_use > out.defined_by) return false;
    }
    return true;
  }

  static constexpr int kAfterAll = 1 << 30;
  static constexpr int64_t kShardWork = 1 << 16;
  static constexpr int64_t kMinOwnedShards = 16;

  const KernelRequest& request_;
  std::vector<Value> values_;
  std::vector<RegionProgram::Instruction> instructions_;
  std::vector<Reduction> reductions_;
  std::vector<int> shape_givers_;  // values that have the shape of the space
  int outputs_ = 0;
  Dims space_;
  std::vector<std::pair<int64_t, int64_t>> free_;  // slots: bytes, offset
  int64_t scratch_bytes_ = 0;
};

std::optional<RegionProgram> RegionProgram::compile(const KernelRequest& request) {
  return RegionCompiler(request).compile();
}

std::optional<RegionProgram> RegionProgram::compile(const Block& body) {
  // The request of a region node around the block, which it does not own.
  Node node;
  node.op = &kRegion;
  node.blocks = {std::shared_ptr<const Block>(std::shared_ptr<const Block>(), &body)};
  KernelRequest request{node, {}, {}};
  for (ValueId id : body.arguments()) request.inputs.push_back(concrete(body.type(id)));
  for (const Block::Result& result : body.results()) {
    request.outputs.push_back(concrete(body.type(result.value)));
  }
  return compile(request);
}

}  // namespace adjoint::cpu
