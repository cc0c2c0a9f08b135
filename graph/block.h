// Blocks of nodes and handles to their values: the graph itself.
//
//   Value h = relu(matmul(x, w));     // builders add nodes to the block of their operands
//   h.type();                         // f32[batch,10], inferred at once
//
// Nodes are only ever appended: an operand's node always precedes its user, ids are topological,
// and a node's number in the dump never changes. A block is closed: its nodes use only its own
// values; what a nested block needs comes in through its arguments.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graph/op.h"
#include "graph/origin.h"

namespace adjoint {

class Block;
class Function;

// Blocks nest at most this deep, so that walks over nested blocks may recurse.
inline constexpr int kMaxNesting = 32;

// A value inside a known block: output `output` of node `node`.
struct ValueId {
  int32_t node = -1;
  int32_t output = 0;
  bool operator==(const ValueId&) const = default;
  auto operator<=>(const ValueId&) const = default;
};

struct Node {
  const OpDef* op = nullptr;
  Attributes attributes;
  std::vector<ValueId> operands;
  std::vector<Type> types;  // of the outputs
  Origin origin;
  std::vector<std::shared_ptr<const Block>> blocks;
  int32_t number = -1;  // %number in the dump; -1 for leaves, which have names
};

// A handle to one output of one node of a block. Copies are cheap; valid as long as its block.
class Value {
 public:
  Value() = default;
  Value(Block& block, ValueId id) : block_(&block), id_(id) {}

  explicit operator bool() const { return block_ != nullptr; }
  Block& block() const { return *block_; }
  ValueId id() const { return id_; }
  const Node& node() const;
  const Type& type() const;
  const Shape& shape() const { return type().shape; }
  DType dtype() const { return type().dtype; }
  int rank() const { return shape().rank(); }
  // Another output of the same node.
  Value output(int index) const { return Value(*block_, {id_.node, index}); }
  bool operator==(const Value&) const = default;

 private:
  Block* block_ = nullptr;
  ValueId id_;
};

// An operand together with the line that passed it: the type of every builder's first parameter, so
// that the caller's line is known without a macro.
struct Located {
  Located(Value v, std::source_location w = std::source_location::current())  // NOLINT
      : value(v), where(w) {}
  operator Value() const { return value; }  // NOLINT

  Value value;
  std::source_location where;
};

class Block {
 public:
  explicit Block(std::string name) : name_(std::move(name)) {}
  virtual ~Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  const std::string& name() const { return name_; }
  size_t size() const { return nodes_.size(); }
  const Node& node(int32_t index) const { return nodes_[index]; }
  const Node& node(ValueId id) const { return nodes_[id.node]; }
  const Type& type(ValueId id) const { return nodes_[id.node].types[id.output]; }
  // Handles to the values of a block under construction.
  Value value(ValueId id) { return Value(*this, id); }

  // Adds an argument; its name must be new in this block (GraphError).
  Value argument(std::string name, Type type,
                 std::source_location where = std::source_location::current());
  Value argument_with_origin(std::string name, Type type, Origin origin);
  const std::vector<ValueId>& arguments() const { return arguments_; }

  // Names a result. Results keep their order; a name must be new.
  void result(std::string name, Value value);
  struct Result {
    std::string name;
    ValueId value;
  };
  const std::vector<Result>& results() const { return results_; }

  // Appends a node of `op` and returns its first output. Checks the arity, that every operand
  // belongs to this block, and the attributes' type, and infers the output types; throws GraphError
  // "op: what is wrong ... built at file:line" and leaves the block as it was.
  Value add(const OpDef& op, std::span<const Value> operands, Attributes attributes,
            const std::source_location& where,
            std::vector<std::shared_ptr<const Block>> blocks = {});
  // The same with a ready origin: what passes and the parser use.
  Value add_with_origin(const OpDef& op, std::vector<ValueId> operands, Attributes attributes,
                        Origin origin, std::vector<std::shared_ptr<const Block>> blocks = {});

  // Adds (or finds) the leaf that `op` and `name` identify.
  Value leaf(const OpDef& op, const std::string& name, Type type, Origin origin);
  // The leaf or argument of that name; empty where there is none.
  Value find_leaf(const std::string& name);

  int32_t line_count() const { return line_count_; }  // nodes that the dump prints as lines
  int depth() const { return depth_; }                // 1, and 1 more for each nesting of blocks

 protected:
  // The origin that a node built at `where` gets, under the scopes that are open.
  Origin origin_at(const std::source_location& where);
  // Takes out all nodes from `size` on, and what names them.
  virtual void truncate(size_t size);

 private:
  friend class Rollback;
  friend class OriginScope;
  friend class GradientScope;
  friend class FixedOrigin;

  std::string name_;
  std::deque<Node> nodes_;  // references stay valid while nodes are appended
  std::vector<ValueId> arguments_;
  std::vector<Result> results_;
  std::unordered_map<std::string, int32_t> leaves_;  // by name; argument, variable, resource
  int32_t line_count_ = 0;
  int depth_ = 1;

  // How new nodes get their origin.
  std::string scope_;
  const std::source_location* pinned_ = nullptr;    // a layer's caller
  std::shared_ptr<const GradientOrigin> gradient_;  // set while a gradient rule runs
  Origin forward_;                                  // the origin of its forward node
  Origin fixed_;                                    // set while a pass replaces a node
  Origin last_origin_;                              // shared by nodes of the same line
};

// Opened by builders of several nodes: where one of them fails with an exception, what was added to
// the block since is taken out again, so that a failed call leaves nothing half built.
class Rollback {
 public:
  explicit Rollback(Block& block);
  ~Rollback();
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;

 private:
  Block& block_;
  size_t size_;
  int depth_;
  int exceptions_;
};

// While it lives, new nodes of the block carry the scope `name` (nested scopes join by '/') and the
// line `where` instead of their builder's own: what a layer opens with its caller's line. It rolls
// back.
class OriginScope {
 public:
  OriginScope(Block& block, std::string_view name, const std::source_location& where);
  ~OriginScope();
  OriginScope(const OriginScope&) = delete;
  OriginScope& operator=(const OriginScope&) = delete;

 private:
  Rollback rollback_;
  Block& block_;
  std::string outer_scope_;
  std::source_location where_;
  const std::source_location* outer_pinned_;
};

// While it lives, new nodes are gradient nodes of `forward`, made by a rule; lines and scopes are
// the forward node's.
class GradientScope {
 public:
  GradientScope(Block& block, Origin forward, GradientOrigin from);
  ~GradientScope();
  GradientScope(const GradientScope&) = delete;
  GradientScope& operator=(const GradientScope&) = delete;

 private:
  Block& block_;
  std::shared_ptr<const GradientOrigin> outer_gradient_;
  Origin outer_forward_;
};

// While it lives, new nodes of the block carry exactly this origin: what a pass opens around the
// nodes that take another's place.
class FixedOrigin {
 public:
  FixedOrigin(Block& block, Origin origin);
  ~FixedOrigin();
  FixedOrigin(const FixedOrigin&) = delete;
  FixedOrigin& operator=(const FixedOrigin&) = delete;

 private:
  Block& block_;
  Origin outer_;
};

// The leaf ops; `name` is their identity within a function.
struct LeafAttributes {
  std::string name;
  Type type;
  static constexpr auto fields() {
    return std::tuple{Field{"name", &LeafAttributes::name}, Field{"type", &LeafAttributes::type}};
  }
};
extern const OpDef kArgument;
extern const OpDef kVariable;  // a module's variable, read at the start of the step
extern const OpDef kResource;  // a tensor that the state holds; never folded, written or copied

struct ConstantAttributes {
  Literal value{DType::f32, {0}, {}};  // no scalar, since defaults are not printed
  static constexpr auto fields() { return std::tuple{Field{"value", &ConstantAttributes::value}}; }
};
extern const OpDef kConstant;

// A constant node. Equal constants are not merged here; the pass `cse` does that.
Value constant(Block& block, Literal value,
               std::source_location where = std::source_location::current());

// Throws GraphError unless `name` is a path: parts of [A-Za-z0-9_.] joined by '/'. Arguments,
// results, variables, resources and functions have such names.
void require_path(std::string_view name);

// The name of a leaf node.
const std::string& leaf_name(const Node& node);

}  // namespace adjoint
