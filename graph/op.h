// What an op declares: constant data, one OpDef for each op, listed in an OpSet. The graph knows no
// op by name; a user's own op joins a set like any other.
//
//   constexpr OpDef kRelu = {.name = "relu", .min_operands = 1, .max_operands = 1,
//                            .infer = infer_same, .traits = {.elementwise = true}};
//   OpSet ops = standard_ops();
//   ops.add(kMyOp);
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/attributes.h"
#include "graph/shape.h"

namespace adjoint {

class Block;
class Value;
struct OpDef;

// What shape inference sees of a node. Its functions throw GraphError with the bare message; the
// block adds the op's name, the operand types where wanted, and the user's line.
class Inference {
 public:
  Inference(const OpDef& op, std::span<const Type> operands, const Attributes& attributes,
            std::span<const std::shared_ptr<const Block>> blocks)
      : op_(op), operands_(operands), attributes_(attributes), blocks_(blocks) {}

  const OpDef& op() const { return op_; }
  size_t operand_count() const { return operands_.size(); }
  const Type& operand(size_t index) const { return operands_[index]; }
  const Shape& shape(size_t index) const { return operands_[index].shape; }
  DType dtype(size_t index) const { return operands_[index].dtype; }
  std::span<const Type> operands() const { return operands_; }
  template <typename A>
  const A& attributes() const {
    return attributes_.get<A>();
  }
  const Block& block(size_t index) const { return *blocks_[index]; }
  size_t block_count() const { return blocks_.size(); }

  // Throws GraphError(message).
  [[noreturn]] void fail(const std::string& message) const;
  // All throw GraphError where the demand is not met, naming the operand and what it is.
  void require_same_dtype() const;
  void require_float(size_t index) const;
  void require_integer(size_t index) const;
  void require_dtype(size_t index, DType dtype) const;
  void require_rank(size_t index, int rank) const;

 private:
  const OpDef& op_;
  std::span<const Type> operands_;
  const Attributes& attributes_;
  std::span<const std::shared_ptr<const Block>> blocks_;
};

struct OpTraits {
  bool elementwise = false;   // one output element from the broadcast operands' elements alone
  bool commutative = false;   // two operands whose order never changes a bit
  bool leaf = false;          // argument, variable, resource: printed by name, not as a line
  bool owns_blocks = false;   // nodes carry blocks (regions, loops)
  bool data_checked = false;  // the kernel can fail on bad values (an index out of range)
};

// Builds the same outputs from simpler ops, into the block of the operands.
using Decompose = std::vector<Value> (*)(std::span<const Value> operands,
                                         const Attributes& attributes);
using InferTypes = std::vector<Type> (*)(const Inference&);

inline constexpr int kAnyNumber = -1;

struct OpDef {
  std::string_view name;  // snake_case, unique; with the version it is the op's identity
  int version = 1;
  int min_operands = 0;
  int max_operands = 0;                        // or kAnyNumber
  const AttributesInfo* attributes = nullptr;  // null: the op has none
  InferTypes infer = nullptr;
  OpTraits traits = {};
  Decompose decompose = nullptr;  // null for a primitive op
};

// Throws GraphError where the number of operands or the attributes' type is not that of `op`.
void check_call(const OpDef& op, size_t operand_count, const Attributes& attributes);

// Ops by name, as the parser needs them. Cheap to copy; holds pointers to constants.
class OpSet {
 public:
  OpSet() = default;
  explicit OpSet(std::initializer_list<const OpDef*> ops);
  // Throws GraphError where another op has this name.
  void add(const OpDef& op);
  void add(std::span<const OpDef* const> ops);
  const OpDef* find(std::string_view name) const;  // null where there is none
  const OpDef& get(std::string_view name) const;   // throws GraphError, with the nearest name
  std::vector<const OpDef*> all() const;           // by name

 private:
  std::map<std::string_view, const OpDef*> ops_;
};

}  // namespace adjoint
