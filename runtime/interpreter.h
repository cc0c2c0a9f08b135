// For the tests of this package: random functions of test_ops, and their values computed one node
// after the other in memory of their own.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "runtime/test_ops.h"

namespace adjoint::test_ops {

using Numbers = std::vector<float>;
using NamedNumbers = std::map<std::string, Numbers>;

struct Outcome {
  NamedNumbers results;
  NamedNumbers variables;  // after the step
};

inline std::vector<bool> needed_nodes(const Function& function) {
  std::vector<bool> needed(function.size());
  for (const auto& result : function.results()) needed[result.value.node] = true;
  for (const Update& update : function.updates()) needed[update.value.node] = true;
  for (int32_t n = static_cast<int32_t>(function.size()) - 1; n >= 0; --n) {
    for (ValueId id : function.node(n).operands) needed[id.node] = needed[id.node] || needed[n];
  }
  return needed;
}

// The function's results and new variables; throws DataError as the op `check` does.
inline Outcome interpret(const Function& function, const NamedNumbers& leaves) {
  const std::vector<bool> needed = needed_nodes(function);
  std::vector<std::vector<Numbers>> values;
  for (int32_t n = 0; n < static_cast<int32_t>(function.size()); ++n) {
    const Node& node = function.node(n);
    const auto operand = [&](size_t i) -> const Numbers& {
      return values[node.operands[i].node][node.operands[i].output];
    };
    std::vector<Numbers> made(node.types.size());
    if (node.op->traits.leaf) {
      made[0] = leaves.at(leaf_name(node));
    } else if (node.op == &kConstant) {
      const Literal& value = node.attributes.get<ConstantAttributes>().value;
      for (int64_t i = 0; i < value.element_count(); ++i) made[0].push_back(float(value.at(i)));
    } else {
      for (Numbers& numbers : made) numbers = operand(0);
      if (node.op == &kReverse) std::reverse(made[0].begin(), made[0].end());
      for (size_t i = 0; i < made[0].size(); ++i) {
        float& x = made[0][i];
        if (node.op == &kCheck && x < 0 && needed[n]) throw DataError("check: a negative element");
        if (node.op == &kTwo) made[1][i] = 2 * x;
        if (node.op == &kTwo) x += 1;
        if (node.op == &kNeg) x = -x;
        if (node.op == &kAdd) x += operand(1)[i];
        if (node.op == &kFold) x += operand(1)[made[0].size() - 1 - i];
      }
    }
    values.push_back(std::move(made));
  }
  Outcome outcome{{}, leaves};
  for (const auto& result : function.results()) {
    outcome.results[result.name] = values[result.value.node][result.value.output];
  }
  for (const Update& update : function.updates()) {
    outcome.variables[update.variable] = values[update.value.node][update.value.output];
  }
  return outcome;
}

// Three variables, two arguments of four elements (so that all operands fit), about twenty nodes
// with aliases, kernels that fail and kernels that work in place; swaps among the updates.
inline std::unique_ptr<Module> random_module(uint32_t seed) {
  std::mt19937 random(seed);
  const auto below = [&](size_t n) { return static_cast<int>(random() % n); };
  const Type flat{DType::f32, {4}}, square{DType::f32, {2, 2}};
  auto module = std::make_unique<Module>("random");
  for (const char* name : {"u", "v", "w"}) module->variable(name, flat);
  Function& f = module->function("f");
  std::vector<Value> values = {f.argument("x", flat), f.argument("y", flat),
                               constant(f, Literal::filled(DType::f32, {4}, 3))};
  for (const auto& variable : module->variables()) {
    if (below(4) != 0) values.push_back(f.read(*variable));
  }
  for (int count = 5 + below(16); count > 0; --count) {
    const Value a = values[below(values.size())], b = values[below(values.size())];
    switch (below(8)) {
      case 0:
        values.push_back(neg(a));
        break;
      case 1:
        values.push_back(reverse(a));
        break;
      case 2:
        values.push_back(check(a));
        break;
      case 3:
        values.push_back(two(a));
        values.push_back(values.back().output(1));
        break;
      case 4:
        values.push_back(scratch(a));
        break;
      case 5:
        values.push_back(reshape(reshape(a, square.shape), flat.shape));
        break;
      case 6:
        values.push_back(fold(a, below(4) ? b : a));
        break;
      default:
        values.push_back(add(a, b));
        break;
    }
  }
  const auto pick = [&] {  // most often one of the last
    const size_t recent = std::min<size_t>(values.size(), below(2) ? 5 : values.size());
    return values[values.size() - 1 - below(recent)];
  };
  for (const auto& variable : module->variables()) {
    if (below(3) != 0) f.update(*variable, pick());
  }
  for (int i = below(4); i >= 0; --i) f.result("r" + std::to_string(i), pick());
  return module;
}

}  // namespace adjoint::test_ops
