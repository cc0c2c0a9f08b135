#include "graph/verifier.h"

#include <string>
#include <unordered_set>

#include "graph/error.h"

namespace adjoint {
namespace {

[[noreturn]] void fail(const std::string& message) { throw GraphError(message); }

std::string types_text(const std::vector<Type>& types) {
  std::string text;
  for (const Type& type : types) text += (text.empty() ? "" : ", ") + to_text(type);
  return text.empty() ? "nothing" : text;
}

class BlockVerifier {
 public:
  BlockVerifier(const Block& block, const Module* module) : block_(block), module_(module) {}

  void run() {
    if (block_.depth() > kMaxNesting) fail("blocks are nested too deeply");
    for (int32_t i = 0; i < static_cast<int32_t>(block_.size()); ++i) {
      const Node& node = block_.node(i);
      try {
        check_node(i, node);
      } catch (const GraphError& error) {
        const std::string name =
            node.number >= 0 ? "%" + std::to_string(node.number) + " " : std::string();
        fail(name + std::string(node.op ? node.op->name : "node without an op") + ": " +
             error.what() + built_at(node.origin));
      }
    }
    if (arguments_ != block_.arguments().size()) fail("an argument is listed without its node");
    check_results();
  }

 private:
  void check_node(int32_t index, const Node& node) {
    if (node.op == nullptr) fail("it has no op");
    if (!node.origin) fail("it has no origin");
    const int32_t number = node.op->traits.leaf ? -1 : next_number_++;
    if (node.number != number) fail("its number should be " + std::to_string(number));
    std::vector<Type> types;
    types.reserve(node.operands.size());
    for (ValueId id : node.operands) {
      check_value(id, index);
      types.push_back(block_.type(id));
    }
    check_call(*node.op, node.operands.size(), node.attributes);
    check_blocks(node);
    const std::vector<Type> inferred =
        node.op->infer(Inference(*node.op, types, node.attributes, node.blocks));
    if (inferred != node.types) {
      fail("its type is " + types_text(node.types) + ", but " + types_text(inferred) +
           " is inferred");
    }
    if (node.op->traits.leaf) check_leaf(index, node);
  }

  void check_value(ValueId id, int32_t before) const {
    if (id.node < 0 || id.node >= before) fail("it uses a value that is not built before it");
    if (id.output < 0 || id.output >= static_cast<int32_t>(block_.node(id).types.size())) {
      fail("it uses output " + std::to_string(id.output) + " of " +
           std::string(block_.node(id).op->name) + ", which has none");
    }
  }

  void check_blocks(const Node& node) const {
    if (!node.blocks.empty() && !node.op->traits.owns_blocks) fail("this op owns no blocks");
    for (size_t i = 0; i < node.blocks.size(); ++i) {
      try {
        if (!node.blocks[i]) fail("it is missing");
        BlockVerifier(*node.blocks[i], nullptr).run();
      } catch (const GraphError& error) {
        fail("in its block " + std::to_string(i) + ": " + error.what());
      }
    }
  }

  void check_leaf(int32_t index, const Node& node) {
    const std::string& name = leaf_name(node);
    if (!leaves_.insert(name).second) fail("another leaf is named '" + name + "'");
    if (node.op == &kArgument) {
      const bool listed = arguments_ < block_.arguments().size() &&
                          block_.arguments()[arguments_] == ValueId{index, 0};
      if (!listed) fail("'" + name + "' is not listed as an argument");
      ++arguments_;
      return;
    }
    if (module_ == nullptr)
      fail("'" + name + "' is read inside a nested block, which is not closed");
    const Variable* variable = module_->find_variable(name);
    const Resource* resource = module_->find_resource(name);
    if (node.op == &kVariable ? variable == nullptr : resource == nullptr) {
      fail("'" + name + "' is not declared in module '" + module_->name() + "'");
    }
    const Type& declared = node.op == &kVariable ? variable->type : resource->type;
    if (!is_instance(node.types[0], declared)) {
      fail("'" + name + "' is declared as " + to_text(declared) + ", not " +
           to_text(node.types[0]));
    }
  }

  void check_results() const {
    std::unordered_set<std::string> names;
    for (const Block::Result& result : block_.results()) {
      try {
        check_value(result.value, static_cast<int32_t>(block_.size()));
        if (!names.insert(result.name).second) fail("another result has this name");
      } catch (const GraphError& error) {
        fail("result '" + result.name + "': " + error.what());
      }
    }
  }

  const Block& block_;
  const Module* module_;  // null for a nested block
  int32_t next_number_ = 0;
  size_t arguments_ = 0;
  std::unordered_set<std::string> leaves_;
};

void check_update(const Function& function, const Update& update) {
  const Variable* variable = function.module().find_variable(update.variable);
  if (variable == nullptr) fail("there is no such variable");
  const ValueId id = update.value;
  if (id.node < 0 || id.node >= static_cast<int32_t>(function.size()) || id.output < 0 ||
      id.output >= static_cast<int32_t>(function.node(id).types.size())) {
    fail("it is no value of the function");
  }
  if (function.type(id) != variable->type) {
    fail("the variable is " + to_text(variable->type) + ", the value " +
         to_text(function.type(id)));
  }
}

}  // namespace

void verify(const Block& block) {
  if (const auto* function = dynamic_cast<const Function*>(&block)) return verify(*function);
  try {
    BlockVerifier(block, nullptr).run();
  } catch (const GraphError& error) {
    fail("verify '" + block.name() + "': " + error.what());
  }
}

void verify(const Function& function) {
  try {
    BlockVerifier(function, &function.module()).run();
    std::unordered_set<std::string> updated;
    for (const Update& update : function.updates()) {
      try {
        check_update(function, update);
        if (!updated.insert(update.variable).second) fail("there is another update");
      } catch (const GraphError& error) {
        fail("update of '" + update.variable + "': " + error.what());
      }
    }
  } catch (const GraphError& error) {
    fail("verify '" + function.name() + "': " + error.what());
  }
}

void verify(const Module& module) {
  for (const auto& function : module.functions()) verify(*function);
}

}  // namespace adjoint
