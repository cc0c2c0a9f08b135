#include "runtime/precision.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "graph/passes.h"
#include "ops/conv.h"
#include "ops/elementwise.h"
#include "ops/linalg.h"
#include "ops/rewrites/identities.h"

namespace adjoint {
namespace {

constexpr std::pair<Precision, std::string_view> kNames[] = {
    {Precision::f32, "f32"}, {Precision::tf32, "tf32"}, {Precision::bf16, "bf16"}};

// What its products are added up in; nothing where the node has none.
std::optional<DType> accumulator(const Node& node) {
  const Attributes& a = node.attributes;
  if (node.op == &kMatmul) return a.get<MatmulAttributes>().accumulate;
  if (node.op == &kConv2d) return a.get<Conv2dAttributes>().accumulate;
  if (node.op == &kConv2dInputGrad) return a.get<Conv2dInputGradAttributes>().accumulate;
  if (node.op == &kConv2dFilterGrad) return a.get<Conv2dFilterGradAttributes>().accumulate;
  return {};
}

bool becomes_bf16(const Node& node) {
  return accumulator(node) == DType::f32 && node.types[0].dtype == DType::f32;
}

std::vector<Value> in_bf16(const RewriteSite& site) {
  const Node& node = site.node;
  if (!becomes_bf16(node)) return {};
  std::vector<ValueId> operands;
  for (Value operand : site.operands) operands.push_back(cast(operand, DType::bf16).id());
  const Value product =
      site.block.add_with_origin(*node.op, std::move(operands), node.attributes, node.origin);
  return {cast(product, DType::f32)};
}

}  // namespace

std::string_view name(Precision precision) {
  return std::find_if(std::begin(kNames), std::end(kNames),
                      [&](const auto& entry) { return entry.first == precision; })
      ->second;
}

std::optional<Precision> precision_of(std::string_view name) {
  for (const auto& [precision, text] : kNames) {
    if (text == name) return precision;
  }
  return {};
}

Pass bf16_products_pass() {
  return {"bf16_products", [](const Function& function) {
            return rewrite(function, in_bf16,
                           [](const Function&, const Node& node) { return becomes_bf16(node); });
          }};
}

Pipeline::Result apply_precision(const Function& function, Precision precision) {
  Pipeline pipeline;
  if (precision == Precision::bf16) {
    constexpr int kMaxRounds = 4;
    pipeline.add(bf16_products_pass())
        .repeat({identities_pass(), cse_pass(), dce_pass()}, kMaxRounds);
  }
  return pipeline.run(function);
}

}  // namespace adjoint
