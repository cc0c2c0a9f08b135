#include "graph/block.h"

#include <algorithm>
#include <cctype>
#include <exception>
#include <utility>

#include "graph/error.h"

namespace adjoint {
namespace {

std::vector<Type> infer_leaf(const Inference& in) { return {in.attributes<LeafAttributes>().type}; }

std::vector<Type> infer_constant(const Inference& in) {
  return {in.attributes<ConstantAttributes>().value.type()};
}

}  // namespace

const OpDef kArgument = {.name = "argument",
                         .attributes = &kAttributesOf<LeafAttributes>,
                         .infer = infer_leaf,
                         .traits = {.leaf = true}};
const OpDef kVariable = {.name = "variable",
                         .attributes = &kAttributesOf<LeafAttributes>,
                         .infer = infer_leaf,
                         .traits = {.leaf = true}};
const OpDef kResource = {.name = "resource",
                         .attributes = &kAttributesOf<LeafAttributes>,
                         .infer = infer_leaf,
                         .traits = {.leaf = true}};
const OpDef kConstant = {
    .name = "constant", .attributes = &kAttributesOf<ConstantAttributes>, .infer = infer_constant};

const Node& Value::node() const { return block_->node(id_); }
const Type& Value::type() const { return block_->type(id_); }

Value Block::argument(std::string name, Type type, std::source_location where) {
  return argument_with_origin(std::move(name), std::move(type), origin_at(where));
}

Value Block::argument_with_origin(std::string name, Type type, Origin origin) {
  require_path(name);
  if (leaves_.contains(name)) {
    throw GraphError(name_ + ": the name '" + name + "' is taken" + built_at(origin));
  }
  Value value = leaf(kArgument, name, std::move(type), std::move(origin));
  arguments_.push_back(value.id());
  return value;
}

void Block::result(std::string name, Value value) {
  if (!value || &value.block() != this) {
    throw GraphError(name_ + ": the result '" + name + "' is not a value of this block");
  }
  require_path(name);
  for (const Result& result : results_) {
    if (result.name == name) throw GraphError(name_ + ": two results are named '" + name + "'");
  }
  results_.push_back({std::move(name), value.id()});
}

Value Block::add(const OpDef& op, std::span<const Value> operands, Attributes attributes,
                 const std::source_location& where,
                 std::vector<std::shared_ptr<const Block>> blocks) {
  std::vector<ValueId> ids;
  ids.reserve(operands.size());
  const Origin origin = origin_at(where);
  for (size_t i = 0; i < operands.size(); ++i) {
    if (operands[i] && &operands[i].block() == this) {
      ids.push_back(operands[i].id());
      continue;
    }
    const std::string what =
        operands[i] ? "belongs to '" + operands[i].block().name() + "', not to '" + name_ + "'"
                    : "is an empty value";
    throw GraphError(std::string(op.name) + ": operand " + std::to_string(i) + " " + what +
                     built_at(origin));
  }
  return add_with_origin(op, std::move(ids), std::move(attributes), origin, std::move(blocks));
}

Value Block::add_with_origin(const OpDef& op, std::vector<ValueId> operands, Attributes attributes,
                             Origin origin, std::vector<std::shared_ptr<const Block>> blocks) {
  Node node{.op = &op,
            .attributes = std::move(attributes),
            .operands = std::move(operands),
            .types = {},
            .origin = std::move(origin),
            .blocks = std::move(blocks)};
  int depth = 1;
  for (const auto& block : node.blocks) depth = std::max(depth, 1 + block->depth());
  try {
    if (depth > kMaxNesting) throw GraphError("blocks are nested too deeply");
    check_call(op, node.operands.size(), node.attributes);
    std::vector<Type> types;
    types.reserve(node.operands.size());
    for (ValueId id : node.operands) {
      if (id.node < 0 || id.node >= static_cast<int32_t>(size()) || id.output < 0 ||
          id.output >= static_cast<int32_t>(nodes_[id.node].types.size())) {
        throw GraphError("an operand is no value of '" + name_ + "'");
      }
      types.push_back(type(id));
    }
    node.types = op.infer(Inference(op, types, node.attributes, node.blocks));
    if (node.types.empty()) throw GraphError("it has no outputs");
  } catch (const GraphError& error) {
    throw GraphError(std::string(op.name) + ": " + error.what() + built_at(node.origin));
  }
  depth_ = std::max(depth_, depth);
  if (!op.traits.leaf) node.number = line_count_;
  nodes_.push_back(std::move(node));
  if (!op.traits.leaf) ++line_count_;
  return Value(*this, {static_cast<int32_t>(nodes_.size()) - 1, 0});
}

Value Block::leaf(const OpDef& op, const std::string& name, Type type, Origin origin) {
  if (auto found = leaves_.find(name); found != leaves_.end()) {
    const Node& node = nodes_[found->second];
    if (node.op != &op || node.types[0] != type) {
      throw GraphError(name_ + ": '" + name + "' is already " + std::string(node.op->name) + " " +
                       to_text(node.types[0]));
    }
    return Value(*this, {found->second, 0});
  }
  Value value = add_with_origin(op, {}, LeafAttributes{name, std::move(type)}, std::move(origin));
  leaves_.emplace(name, value.id().node);
  return value;
}

Value Block::find_leaf(const std::string& name) {
  auto found = leaves_.find(name);
  return found == leaves_.end() ? Value() : Value(*this, {found->second, 0});
}

Origin Block::origin_at(const std::source_location& where) {
  if (fixed_) return fixed_;
  OriginEntry entry;
  if (gradient_) {
    if (forward_ && !forward_->empty()) entry = forward_->front();
    entry.from = gradient_;
  } else {
    const std::source_location& line = pinned_ ? *pinned_ : where;
    entry.where = {line.file_name(), line.line()};
    entry.scope = scope_;
  }
  if (!last_origin_ || last_origin_->front() != entry) last_origin_ = make_origin(std::move(entry));
  return last_origin_;
}

void Block::truncate(size_t size) {
  const auto is_gone = [size](ValueId id) { return id.node >= static_cast<int32_t>(size); };
  std::erase_if(arguments_, is_gone);
  std::erase_if(results_, [&](const Result& result) { return is_gone(result.value); });
  std::erase_if(leaves_, [&](const auto& leaf) { return is_gone({leaf.second}); });
  while (nodes_.size() > size) {
    if (!nodes_.back().op->traits.leaf) --line_count_;
    nodes_.pop_back();
  }
}

Rollback::Rollback(Block& block)
    : block_(block),
      size_(block.size()),
      depth_(block.depth_),
      exceptions_(std::uncaught_exceptions()) {}

Rollback::~Rollback() {
  if (std::uncaught_exceptions() == exceptions_ || block_.size() == size_) return;
  block_.truncate(size_);
  block_.depth_ = depth_;
}

OriginScope::OriginScope(Block& block, std::string_view name, const std::source_location& where)
    : rollback_(block),
      block_(block),
      outer_scope_(block.scope_),
      where_(where),
      outer_pinned_(block.pinned_) {
  if (!block.scope_.empty()) block.scope_ += '/';
  block.scope_ += name;
  // The outermost layer's caller is the user's own line.
  if (block.pinned_ == nullptr) block.pinned_ = &where_;
}

OriginScope::~OriginScope() {
  block_.scope_ = outer_scope_;
  block_.pinned_ = outer_pinned_;
}

GradientScope::GradientScope(Block& block, Origin forward, GradientOrigin from)
    : block_(block), outer_gradient_(block.gradient_), outer_forward_(block.forward_) {
  block.gradient_ = std::make_shared<const GradientOrigin>(std::move(from));
  block.forward_ = std::move(forward);
}

GradientScope::~GradientScope() {
  block_.gradient_ = outer_gradient_;
  block_.forward_ = outer_forward_;
}

FixedOrigin::FixedOrigin(Block& block, Origin origin) : block_(block), outer_(block.fixed_) {
  block.fixed_ = std::move(origin);
}

FixedOrigin::~FixedOrigin() { block_.fixed_ = outer_; }

void require_path(std::string_view name) {
  bool part_open = false;
  for (char c : name) {
    const bool word = std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
    if (!word && (c != '/' || !part_open)) {
      part_open = false;
      break;
    }
    part_open = word;
  }
  if (!part_open) throw GraphError("'" + std::string(name) + "' is not a name");
}

Value constant(Block& block, Literal value, std::source_location where) {
  return block.add(kConstant, {}, ConstantAttributes{std::move(value)}, where);
}

const std::string& leaf_name(const Node& node) {
  return node.attributes.get<LeafAttributes>().name;
}

}  // namespace adjoint
