#include "runtime/cuda/region_builder.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "ops/region.h"

namespace adjoint::cuda {
namespace {

// The node, or the contents of a region, on these values of the body.
std::vector<ValueId> copy_into(Block& body, const Node& node, const std::vector<ValueId>& inputs) {
  std::vector<ValueId> outputs;
  if (node.op != &kRegion) {
    const Value first =
        body.add_with_origin(*node.op, inputs, node.attributes, node.origin, node.blocks);
    for (size_t i = 0; i < node.types.size(); ++i) {
      outputs.push_back(first.output(static_cast<int>(i)).id());
    }
    return outputs;
  }
  const Block& region = *node.blocks[0];
  std::map<ValueId, ValueId> values;
  for (size_t i = 0; i < inputs.size(); ++i) values[region.arguments()[i]] = inputs[i];
  for (int32_t i = 0; i < static_cast<int32_t>(region.size()); ++i) {
    const Node& member = region.node(i);
    if (member.op == &kArgument) continue;
    std::vector<ValueId> operands;
    for (ValueId operand : member.operands) operands.push_back(values.at(operand));
    const Value copy =
        body.add_with_origin(*member.op, std::move(operands), member.attributes, member.origin);
    for (size_t k = 0; k < member.types.size(); ++k) {
      const auto output = static_cast<int32_t>(k);
      values[{i, output}] = copy.output(output).id();
    }
  }
  for (const auto& result : region.results()) outputs.push_back(values.at(result.value));
  return outputs;
}

}  // namespace

RegionBuilder::RegionBuilder(const Block& from)
    : from_(from), body_(std::make_shared<Block>("region")) {}

void RegionBuilder::add(int32_t index) {
  const Node& node = from_.node(index);
  origins_.push_back(node.origin);
  std::vector<ValueId> inputs;
  for (ValueId operand : node.operands) inputs.push_back(inner(operand));
  const std::vector<ValueId> outputs = copy_into(*body_, node, inputs);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const ValueId output{index, static_cast<int32_t>(i)};
    inner_[output] = outputs[i];
    outputs_.push_back(output);
  }
}

ValueId RegionBuilder::inner(ValueId operand) {
  const auto [found, added] = inner_.try_emplace(operand);
  if (added) {
    found->second = body_
                        ->argument_with_origin("a" + std::to_string(arguments_.size()),
                                               from_.type(operand), from_.node(operand).origin)
                        .id();
    arguments_.push_back(operand);
  }
  return found->second;
}

bool RegionBuilder::reads(ValueId value) const {
  return std::find(arguments_.begin(), arguments_.end(), value) != arguments_.end();
}

void RegionBuilder::results(std::vector<ValueId> outputs) {
  results_ = std::move(outputs);
  for (size_t i = 0; i < results_.size(); ++i) {
    body_->result("r" + std::to_string(i), body_->value(inner_.at(results_[i])));
  }
}

bool RegionBuilder::is_taken(const HasKernel& has_kernel) const {
  return takes_region(has_kernel, body_);
}

void RegionBuilder::finish(Rewriter& rewriter) {
  std::vector<ValueId> operands;
  for (ValueId argument : arguments_) operands.push_back(rewriter(argument).id());
  const Value region = rewriter.to().add_with_origin(kRegion, std::move(operands), {},
                                                     join_origins(origins_), {std::move(body_)});
  for (size_t i = 0; i < results_.size(); ++i) {
    rewriter.replace(results_[i], region.output(static_cast<int>(i)));
  }
}

void RegionBuilder::finish(Rewriter& rewriter, const std::function<bool(ValueId)>& needed) {
  std::vector<ValueId> outputs;
  std::copy_if(outputs_.begin(), outputs_.end(), std::back_inserter(outputs), needed);
  results(std::move(outputs));
  finish(rewriter);
}

const RegionBuilder* RegionJoins::at(int32_t place) const {
  const auto found = regions_.find(place);
  return found == regions_.end() ? nullptr : found->second.get();
}

std::optional<Rewritten> RegionJoins::rewritten() {
  if (regions_.empty()) return std::nullopt;
  Rewritten result{std::make_unique<Function>(function_.module(), function_.name()), {}};
  Rewriter rewriter(function_, *result.function);
  for (int32_t i = 0; i < static_cast<int32_t>(function_.size()); ++i) {
    if (const auto region = regions_.find(i); region != regions_.end()) {
      for (ValueId constant : region->second->arguments()) {
        if (rewriter.has(constant)) continue;
        rewriter.keep(constant.node);
        drop(constant.node);
      }
      region->second->finish(rewriter);
    } else if (!is_dropped_[i]) {
      rewriter.keep(i);
    }
  }
  result.values = rewriter.finish();
  return result;
}

}  // namespace adjoint::cuda
