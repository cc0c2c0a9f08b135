#include "tests/oracle/oracle.h"

#include <stdexcept>

namespace adjoint::oracle {
namespace {

Tensor from_literal(const Literal& literal) {
  Tensor tensor{literal.dtype(), literal.dims(), {}};
  for (int64_t i = 0; i < literal.element_count(); ++i) {
    tensor.values.push_back(literal.dtype() == DType::i64 ? Real(literal.integer_at(i))
                                                          : Real(literal.at(i)));
  }
  return tensor;
}

Outputs constant_value(const Call& call) {
  return {from_literal(call.attributes<ConstantAttributes>().value)};
}

// A region is its block, fed with the operands in the order of the arguments.
Outputs region_value(const Call& call) {
  const Block& body = *call.node.blocks[0];
  Feeds feeds;
  for (size_t i = 0; i < body.arguments().size(); ++i) {
    feeds.emplace(leaf_name(body.node(body.arguments()[i])), call.input(i));
  }
  return evaluate(body, feeds);
}

Functions all_functions() {
  Functions functions{{"constant", constant_value}, {"region", region_value}};
  add_elementwise(functions);
  add_shape(functions);
  add_indexing(functions);
  add_reduce(functions);
  add_linalg(functions);
  add_conv(functions);
  add_pool(functions);
  add_norm(functions);
  add_loss(functions);
  add_random(functions);
  return functions;
}

}  // namespace

const Functions& functions() {
  static const Functions kFunctions = all_functions();
  return kFunctions;
}

Outputs evaluate(const Node& node, std::span<const Tensor> inputs) {
  auto found = functions().find(node.op->name);
  if (found == functions().end()) {
    throw std::out_of_range("the oracle has no op '" + std::string(node.op->name) + "'");
  }
  return found->second({node, inputs});
}

std::vector<Outputs> evaluate_all(const Block& block, const Feeds& feeds) {
  std::vector<Outputs> values(block.size());
  for (size_t i = 0; i < block.size(); ++i) {
    const Node& node = block.node(static_cast<int32_t>(i));
    if (node.op->traits.leaf) {
      auto fed = feeds.find(leaf_name(node));
      if (fed == feeds.end()) throw std::out_of_range("nothing fed for " + leaf_name(node));
      values[i] = {fed->second};
      continue;
    }
    std::vector<Tensor> inputs;
    for (ValueId id : node.operands) inputs.push_back(values[id.node][id.output]);
    values[i] = evaluate(node, inputs);
  }
  return values;
}

Outputs evaluate(const Block& block, const Feeds& feeds) {
  const std::vector<Outputs> values = evaluate_all(block, feeds);
  Outputs results;
  for (const Block::Result& result : block.results()) {
    results.push_back(values[result.value.node][result.value.output]);
  }
  return results;
}

Dims numbers(const Shape& shape) {
  Dims dims;
  for (const Dim& dim : shape) dims.push_back(dim.value());
  return dims;
}

Dims broadcast(const Dims& a, const Dims& b) {
  Dims result(std::max(a.size(), b.size()), 1);
  for (const Dims* dims : {&a, &b}) {
    const size_t skipped = result.size() - dims->size();
    for (size_t i = 0; i < dims->size(); ++i) {
      int64_t& dim = result[skipped + i];
      if ((*dims)[i] == 1) continue;
      if (dim != 1 && dim != (*dims)[i]) throw std::invalid_argument("shapes do not broadcast");
      dim = (*dims)[i];
    }
  }
  return result;
}

int64_t broadcast_offset(const Dims& operand, const Index& index) {
  const size_t skipped = index.size() - operand.size();
  int64_t place = 0;
  for (size_t i = 0; i < operand.size(); ++i) {
    place = place * operand[i] + (operand[i] == 1 ? 0 : index[skipped + i]);
  }
  return place;
}

}  // namespace adjoint::oracle
