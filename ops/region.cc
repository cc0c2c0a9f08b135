#include "ops/region.h"

#include <algorithm>
#include <string>

#include "ops/reduce.h"
#include "ops/shape.h"

namespace adjoint {
namespace {

std::vector<Type> infer_region(const Inference& in) {
  if (in.block_count() != 1) in.fail("owns one block, not " + std::to_string(in.block_count()));
  const Block& body = in.block(0);
  if (body.arguments().size() != in.operand_count()) {
    in.fail("the body has " + std::to_string(body.arguments().size()) + " arguments for " +
            std::to_string(in.operand_count()) + " operands");
  }
  for (size_t i = 0; i < in.operand_count(); ++i) {
    const Type& wanted = body.type(body.arguments()[i]);
    if (in.operand(i) != wanted) {
      in.fail("operand " + std::to_string(i) + " is " + to_text(in.operand(i)) +
              ", the body's argument " + to_text(wanted));
    }
  }
  if (body.results().empty()) in.fail("the body has no result");
  std::vector<Type> types;
  for (const auto& result : body.results()) types.push_back(body.type(result.value));
  return types;
}

}  // namespace

constexpr OpDef kRegion = {.name = "region",
                           .min_operands = 0,
                           .max_operands = kAnyNumber,
                           .infer = infer_region,
                           .traits = {.owns_blocks = true}};

std::span<const OpDef* const> region_ops() {
  static constexpr const OpDef* kOps[] = {&kRegion};
  return kOps;
}

bool fits_region(const OpDef& op) {
  static constexpr const OpDef* kOthers[] = {&kArgument, &kConstant, &kBroadcastTo, &kSumTo,
                                             &kSum,      &kMean,     &kMax,         &kMin,
                                             &kProd,     &kVariance, &kLogsumexp};
  return op.traits.elementwise ||
         std::find(std::begin(kOthers), std::end(kOthers), &op) != std::end(kOthers);
}

Value region(Block& block, std::span<const Value> operands, std::shared_ptr<const Block> body,
             std::source_location where) {
  return block.add(kRegion, operands, {}, where, {std::move(body)});
}

}  // namespace adjoint
