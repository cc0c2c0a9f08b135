#include "runtime/cuda/filter_layout.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ops/conv.h"
#include "ops/elementwise.h"
#include "ops/region.h"
#include "ops/shape.h"

namespace adjoint::cuda {
namespace {

Value turn(Value filter) { return transpose(filter, {3, 0, 1, 2}); }
Value turn_back(Value turned) { return transpose(turned, {1, 2, 3, 0}); }

// Transposed before it is cast: so the cast joins the transpose, not other casts.
Value turned_operand(Value filter) {
  const Node& node = filter.node();
  if (node.op != &kCast) return turn(filter);
  return cast(turn(filter.block().value(node.operands[0])), filter.dtype());
}

bool is_static(const Value& value) { return value.shape().is_static(); }

}  // namespace

bool is_convolution(const Node& node) {
  return node.op == &kConv2d || node.op == &kConv2dInputGrad || node.op == &kConv2dFilterGrad;
}

std::shared_ptr<const Block> turned_body(const Node& node, std::span<const Value> operands) {
  auto body = std::make_shared<Block>("region");
  std::vector<Value> inner;
  for (const Value& operand : operands) {
    inner.push_back(body->argument("a" + std::to_string(inner.size()), operand.type()));
  }
  const bool turns_result = node.op == &kConv2dFilterGrad;
  const Value filter = turns_result ? inner[1] : turn_back(inner[1]);
  const Value result =
      body->add_with_origin(*node.op, {inner[0].id(), filter.id()}, node.attributes, node.origin);
  body->result("r0", turns_result ? turn(result) : result);
  return body;
}

Pass filter_layout_pass(HasKernel has_kernel) {
  auto lay_out = [has_kernel =
                      std::move(has_kernel)](const RewriteSite& site) -> std::vector<Value> {
    const Node& node = site.node;
    if (!is_convolution(node) || !node.types[0].shape.is_static() ||
        !std::all_of(site.operands.begin(), site.operands.end(), is_static)) {
      return {};
    }
    std::vector<Value> operands(site.operands.begin(), site.operands.end());
    const bool turns_result = node.op == &kConv2dFilterGrad;
    if (!turns_result) operands[1] = turned_operand(operands[1]);
    const std::shared_ptr<const Block> body = turned_body(node, operands);
    if (!takes_region(has_kernel, body)) return {};
    const Value result = region(site.block, operands, body);
    return {turns_result ? turn_back(result) : result};
  };
  return {"filter_layout", [lay_out](const Function& function) {
            return rewrite(function, lay_out,
                           [](const Function&, const Node& node) { return is_convolution(node); });
          }};
}

}  // namespace adjoint::cuda
