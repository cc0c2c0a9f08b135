#include "runtime/precision.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "graph/passes.h"
#include "ops/conv.h"
#include "ops/elementwise.h"
#include "ops/linalg.h"
#include "ops/rewrites/identities.h"
#include "ops/shape.h"

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

// Whether a side of a product is known to be shorter than a tile of tensor cores, such as the
// classes of a last layer: the casts would take longer than they save.
bool has_short_side(const Node& node, const Type& first_operand) {
  if (node.op != &kMatmul) return false;
  constexpr int64_t kShortest = 16;
  const auto is_short = [](const Shape& shape) {
    return std::any_of(shape.end() - 2, shape.end(),
                       [](const Dim& dim) { return dim.is_constant() && dim.value() < kShortest; });
  };
  return is_short(first_operand.shape) || is_short(node.types[0].shape);
}

bool becomes_bf16(const Node& node, const Type& first_operand) {
  return accumulator(node) == DType::f32 && node.types[0].dtype == DType::f32 &&
         !has_short_side(node, first_operand);
}

std::vector<Value> in_bf16(const RewriteSite& site) {
  const Node& node = site.node;
  if (!accumulator(node) || !becomes_bf16(node, site.operands[0].type())) return {};
  std::vector<ValueId> operands;
  for (Value operand : site.operands) operands.push_back(cast(operand, DType::bf16).id());
  const Value product =
      site.block.add_with_origin(*node.op, std::move(operands), node.attributes, node.origin);
  return {cast(product, DType::f32)};
}

// Reshapes are of bf16 where a cast is next to them: so casts come next to what computes.
std::vector<Value> reshape_in_bf16(const RewriteSite& site) {
  const Node& node = site.node;
  if (node.op != &kReshape && node.op != &kCast) return {};
  const Node inner = site.operands[0].node();  // a copy: adding nodes moves them
  const auto again = [&](Value x) {
    const Node& reshape = node.op == &kReshape ? node : inner;
    return site.block.add_with_origin(kReshape, {x.id()}, reshape.attributes, reshape.origin);
  };
  if (node.op == &kReshape && inner.op == &kCast) {
    const Value stored = site.block.value(inner.operands[0]);
    if (stored.dtype() == DType::bf16) return {cast(again(stored), node.types[0].dtype)};
  }
  if (node.op == &kCast && inner.op == &kReshape && node.types[0].dtype == DType::bf16) {
    return {again(cast(site.block.value(inner.operands[0]), DType::bf16))};
  }
  return {};
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
            return rewrite(function, in_bf16, [](const Function& from, const Node& node) {
              return accumulator(node) && becomes_bf16(node, from.type(node.operands[0]));
            });
          }};
}

Pass bf16_reshapes_pass() {
  return {"bf16_reshapes", [](const Function& function) {
            return rewrite(function, reshape_in_bf16,
                           [&](const Function&, const Node& node) { return node.op == &kReshape; });
          }};
}

Pipeline::Result apply_precision(const Function& function, Precision precision) {
  Pipeline pipeline;
  if (precision == Precision::bf16) {
    constexpr int kMaxRounds = 4;
    pipeline.add(bf16_products_pass())
        .repeat({bf16_reshapes_pass(), identities_pass(), cse_pass(), dce_pass()}, kMaxRounds);
  }
  return pipeline.run(function);
}

}  // namespace adjoint
