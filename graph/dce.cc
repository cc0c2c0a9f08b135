#include "graph/passes.h"

namespace adjoint {
namespace {

// Which nodes something outside needs: one walk from the last node to the first.
std::vector<bool> live_nodes(const Block& block) {
  std::vector<bool> live(block.size(), false);
  for (ValueId id : block.arguments()) live[id.node] = true;
  for (const Block::Result& result : block.results()) live[result.value.node] = true;
  if (const auto* function = dynamic_cast<const Function*>(&block)) {
    for (const Update& update : function->updates()) live[update.value.node] = true;
  }
  for (int32_t i = static_cast<int32_t>(block.size()) - 1; i >= 0; --i) {
    if (!live[i]) continue;
    for (ValueId id : block.node(i).operands) live[id.node] = true;
  }
  return live;
}

std::optional<ValueMap> drop_dead(const Block& from, Block& to) {
  const std::vector<bool> live = live_nodes(from);
  Rewriter rewriter(from, to);
  bool dropped = false;
  for (int32_t i = 0; i < static_cast<int32_t>(from.size()); ++i) dropped |= !live[i];
  if (!dropped) return std::nullopt;
  for (int32_t i = 0; i < static_cast<int32_t>(from.size()); ++i) {
    if (live[i]) rewriter.keep(i);
  }
  return rewriter.finish();
}

}  // namespace

Pass dce_pass() {
  return {"dce", [](const Function& function) { return rewrite_blocks(function, drop_dead); }};
}

}  // namespace adjoint
