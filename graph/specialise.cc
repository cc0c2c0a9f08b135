#include <string>

#include "graph/error.h"
#include "graph/passes.h"

namespace adjoint {
namespace {

Type substitute(const Type& type, const DimBindings& bindings) {
  return {type.dtype, type.shape.substitute(bindings)};
}

// Node by node, so that ids stay; recurses as deep as blocks nest.
void specialise_into(const Block& from, Block& to, const DimBindings& bindings) {
  for (int32_t i = 0; i < static_cast<int32_t>(from.size()); ++i) {
    const Node& node = from.node(i);
    if (node.op == &kArgument) {
      to.argument_with_origin(leaf_name(node), substitute(node.types[0], bindings), node.origin);
    } else if (node.op->traits.leaf) {
      to.leaf(*node.op, leaf_name(node), substitute(node.types[0], bindings), node.origin);
    } else {
      std::vector<std::shared_ptr<const Block>> blocks;
      for (const auto& nested : node.blocks) {
        auto fresh = std::make_shared<Block>(nested->name());
        specialise_into(*nested, *fresh, bindings);
        blocks.push_back(std::move(fresh));
      }
      to.add_with_origin(*node.op, node.operands, node.attributes.substitute(bindings), node.origin,
                         std::move(blocks));
    }
  }
  for (const Block::Result& result : from.results()) {
    to.result(result.name, to.value(result.value));
  }
}

}  // namespace

std::unique_ptr<Function> specialise(const Function& function, const DimBindings& bindings) {
  try {
    auto fresh = std::make_unique<Function>(function.module(), function.name());
    specialise_into(function, *fresh, bindings);
    for (const Update& update : function.updates()) {
      fresh->update(*function.module().find_variable(update.variable), fresh->value(update.value));
    }
    return fresh;
  } catch (const GraphError& error) {
    std::string text;
    for (const auto& [name, value] : bindings) {
      text += (text.empty() ? "" : ", ") + name + "=" + std::to_string(value);
    }
    throw GraphError("'" + function.name() + "' with " + (text.empty() ? "no bindings" : text) +
                     ": " + error.what());
  }
}

}  // namespace adjoint
