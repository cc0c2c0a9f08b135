#include "runtime/plan.h"

#include <algorithm>
#include <cstdio>

#include "graph/error.h"
#include "graph/printer.h"
#include "runtime/tensor.h"

namespace adjoint {

size_t Plan::bytes_of(StorageKind kind) const {
  size_t bytes = 0;
  for (const PlanStorage& storage : storages) bytes += storage.kind == kind ? storage.bytes : 0;
  return bytes;
}

size_t Plan::peak_bytes() const {
  size_t bytes = 0;
  for (const PlanStorage& storage : storages) bytes += storage.bytes;
  return bytes;
}

double Plan::flops() const {
  double sum = 0;
  for (const Launch& launch : launches) sum += launch.flops;
  return sum;
}

double Plan::bytes_moved() const {
  double sum = 0;
  for (const Launch& launch : launches) sum += launch.bytes;
  return sum;
}

KernelRequest make_request(const Block& block, int32_t node) {
  KernelRequest request{block.node(node), {}, {}};
  for (ValueId operand : request.node.operands) {
    request.inputs.push_back(concrete(block.type(operand)));
  }
  for (const Type& type : request.node.types) request.outputs.push_back(concrete(type));
  return request;
}

bool is_static(const Block& block, const Node& node) {
  const auto fixed = [](const Type& type) { return type.shape.is_static(); };
  return std::all_of(node.types.begin(), node.types.end(), fixed) &&
         std::all_of(node.operands.begin(), node.operands.end(),
                     [&](ValueId operand) { return fixed(block.type(operand)); });
}

bool is_computed(const Node& node) { return !node.op->traits.leaf && node.op != &kConstant; }

std::string request_key(const KernelRequest& request) {
  std::string key = std::string(request.node.op->name) + request.node.attributes.to_text() + "(";
  for (const TensorType& type : request.inputs) {
    key += (key.back() == '(' ? "" : ", ") + to_text(type);
  }
  key += ")";
  for (const auto& block : request.node.blocks) {
    char hash[32];
    const std::string text = to_text(*block, TextMode::structural);
    std::snprintf(hash, sizeof hash, " #%016zx", internal::hash_text(text));
    key += hash;
  }
  return key;
}

KernelChoices kernel_choices(const Plan& plan) {
  KernelChoices choices;
  for (const Launch& launch : plan.launches) {
    if (launch.is_copy()) continue;
    choices[request_key(make_request(*plan.function, launch.node))] = launch.kernel;
  }
  return choices;
}

}  // namespace adjoint
