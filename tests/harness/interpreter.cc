#include "tests/harness/interpreter.h"

#include <cstring>
#include <stdexcept>

#include "runtime/cpu/kernel.h"

namespace adjoint::testing {
namespace {

const cpu::KernelTable& table() {
  static const cpu::KernelTable kTable = cpu::standard_kernels();
  return kTable;
}

KernelRequest request_of(const Block& block, const Node& node) {
  KernelRequest request{node, {}, {}};
  for (ValueId id : node.operands) request.inputs.push_back(concrete(block.type(id)));
  for (const Type& type : node.types) request.outputs.push_back(concrete(type));
  return request;
}

// Memory that begins as NaNs, followed by bytes that must not change.
class Guarded {
 public:
  explicit Guarded(size_t bytes)
      : bytes_(bytes),
        memory_(Tensor::uninitialized({DType::u8, {static_cast<int64_t>(bytes + kGuard)}})) {
    std::memset(memory_.data(), 0xff, bytes + kGuard);
  }
  void* data() const { return memory_.data(); }
  void check(std::string_view kernel) const {
    const auto* guard = static_cast<const unsigned char*>(memory_.data()) + bytes_;
    for (size_t i = 0; i < kGuard; ++i) {
      if (guard[i] != 0xff) throw std::logic_error(std::string(kernel) + " wrote past its buffer");
    }
  }

 private:
  static constexpr size_t kGuard = 64;
  size_t bytes_;
  Tensor memory_;
};

std::vector<Tensor> run_kernel(const cpu::KernelDef& kernel, const KernelRequest& request,
                               const std::vector<Tensor>& inputs, cpu::Threads& threads) {
  const KernelFacts facts = kernel.describe ? kernel.describe(request) : KernelFacts{};
  std::vector<Tensor> outputs;
  if (facts.alias) {
    Tensor output = Tensor::uninitialized(request.outputs[0]);
    if (output.byte_count() > 0) std::memcpy(output.data(), inputs[0].data(), output.byte_count());
    return {output};
  }
  std::vector<const void*> in;
  std::vector<Guarded> memory;
  std::vector<void*> out;
  for (const Tensor& input : inputs) in.push_back(input.data());
  for (const TensorType& type : request.outputs) memory.emplace_back(type.byte_count());
  for (const Guarded& buffer : memory) out.push_back(buffer.data());
  const Guarded workspace(facts.workspace_bytes);
  kernel.prepare(request)({in, out, workspace.data(), threads});
  workspace.check(kernel.name);
  for (size_t i = 0; i < memory.size(); ++i) {
    memory[i].check(kernel.name);
    outputs.push_back(Tensor::wrap(out[i], request.outputs[i]).clone());
  }
  return outputs;
}

// The node as a function of its own: its decomposition, or the node itself.
std::unique_ptr<Block> decomposed(const Block& block, const Node& node) {
  auto inner = std::make_unique<Block>(std::string(node.op->name));
  std::vector<Value> arguments;
  for (size_t i = 0; i < node.operands.size(); ++i) {
    arguments.push_back(inner->argument("a" + std::to_string(i), block.type(node.operands[i])));
  }
  const std::vector<Value> outputs = node.op->decompose(arguments, node.attributes);
  for (size_t i = 0; i < outputs.size(); ++i) inner->result("r" + std::to_string(i), outputs[i]);
  return inner;
}

std::vector<Tensor> run_node(const Block& block, const Node& node,
                             const std::vector<Tensor>& inputs, cpu::Threads& threads) {
  if (node.op == &kConstant) {
    return {Tensor::of(node.attributes.get<ConstantAttributes>().value)};
  }
  const KernelRequest request = request_of(block, node);
  if (const cpu::KernelDef* kernel = cpu::choose(table(), request)) {
    return run_kernel(*kernel, request, inputs, threads);
  }
  if (!node.op->decompose) {
    throw PlanError("no kernel for " + std::string(node.op->name) + built_at(node.origin));
  }
  Tensors feeds;
  for (size_t i = 0; i < inputs.size(); ++i) feeds.emplace("a" + std::to_string(i), inputs[i]);
  return interpret(*decomposed(block, node), feeds, threads);
}

}  // namespace

Tensor to_runtime(const oracle::Tensor& tensor) {
  Tensor result = Tensor::uninitialized({tensor.dtype, tensor.dims});
  auto* bytes = static_cast<std::byte*>(result.data());
  for (int64_t i = 0; i < tensor.size(); ++i) {
    if (tensor.dtype == DType::i64) {
      result.values<int64_t>()[i] = static_cast<int64_t>(tensor.values[i]);
    } else {
      store_element(tensor.dtype, static_cast<double>(tensor.values[i]),
                    bytes + i * size_of(tensor.dtype));
    }
  }
  return result;
}

oracle::Tensor from_runtime(const Tensor& tensor) {
  oracle::Tensor result{tensor.dtype(), tensor.dims(), {}};
  const auto* bytes = static_cast<const std::byte*>(tensor.data());
  for (int64_t i = 0; i < tensor.element_count(); ++i) {
    result.values.push_back(
        tensor.dtype() == DType::i64
            ? oracle::Real(tensor.values<int64_t>()[i])
            : oracle::Real(load_element(tensor.dtype(), bytes + i * size_of(tensor.dtype()))));
  }
  return result;
}

std::vector<Tensor> interpret(const Block& block, const Tensors& feeds, cpu::Threads& threads) {
  std::vector<std::vector<Tensor>> values(block.size());
  for (size_t i = 0; i < block.size(); ++i) {
    const Node& node = block.node(static_cast<int32_t>(i));
    if (node.op->traits.leaf) {
      values[i] = {feeds.at(leaf_name(node))};
      continue;
    }
    std::vector<Tensor> inputs;
    for (ValueId id : node.operands) inputs.push_back(values[id.node][id.output]);
    values[i] = run_node(block, node, inputs, threads);
  }
  std::vector<Tensor> results;
  for (const Block::Result& result : block.results()) {
    results.push_back(values[result.value.node][result.value.output]);
  }
  return results;
}

std::vector<oracle::Tensor> interpret(const Block& block, const oracle::Feeds& feeds) {
  Tensors tensors;
  for (const auto& [name, tensor] : feeds) tensors.emplace(name, to_runtime(tensor));
  cpu::Threads one(1);
  std::vector<oracle::Tensor> results;
  for (const Tensor& result : interpret(block, tensors, one)) {
    results.push_back(from_runtime(result));
  }
  return results;
}

bool has_kernels(const Block& block) {
  for (size_t i = 0; i < block.size(); ++i) {
    const Node& node = block.node(static_cast<int32_t>(i));
    if (node.op->traits.leaf || node.op == &kConstant) continue;
    if (cpu::choose(table(), request_of(block, node)) != nullptr) continue;
    if (!node.op->decompose || !has_kernels(*decomposed(block, node))) return false;
  }
  return true;
}

}  // namespace adjoint::testing
