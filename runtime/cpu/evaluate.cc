#include "runtime/cpu/evaluate.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

namespace adjoint::cpu {
namespace {

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Buffer = std::unique_ptr<void, Free>;

// Kernels expect aligned buffers, which literals are not.
Buffer make_buffer(size_t bytes, const void* contents = nullptr) {
  const size_t whole = (std::max<size_t>(bytes, 1) + 63) / 64 * 64;
  Buffer buffer(std::aligned_alloc(64, whole));
  if (!buffer) throw std::bad_alloc();
  if (contents != nullptr && bytes > 0) std::memcpy(buffer.get(), contents, bytes);
  return buffer;
}

Literal read(const TensorType& type, const void* buffer) {
  std::vector<std::byte> bytes(type.byte_count());
  if (!bytes.empty()) std::memcpy(bytes.data(), buffer, bytes.size());
  return Literal(type.dtype, type.dims, std::move(bytes));
}

}  // namespace

std::vector<Literal> evaluate(const Node& node, std::span<const Literal> operands,
                              const KernelTable& table, Threads* threads) {
  KernelRequest request{node, {}, {}};
  for (const Literal& operand : operands) {
    request.inputs.push_back({operand.dtype(), operand.dims()});
  }
  for (const Type& type : node.types) request.outputs.push_back(concrete(type));
  const KernelDef* kernel = table.choose(request);
  if (kernel == nullptr) return {};
  const KernelFacts facts = kernel->describe ? kernel->describe(request) : KernelFacts{};

  std::vector<Literal> results;
  if (facts.alias) {
    results.push_back(read(request.outputs[0], operands[0].data()));
    return results;
  }
  std::vector<Buffer> buffers;
  std::vector<const void*> inputs;
  for (const Literal& operand : operands) {
    buffers.push_back(make_buffer(operand.byte_count(), operand.data()));
    inputs.push_back(buffers.back().get());
  }
  std::vector<void*> outputs;
  for (const TensorType& type : request.outputs) {
    buffers.push_back(make_buffer(type.byte_count()));
    outputs.push_back(buffers.back().get());
  }
  const Buffer workspace = make_buffer(facts.workspace_bytes);
  std::optional<Threads> own;
  if (threads == nullptr) threads = &own.emplace(1);
  kernel->prepare(request)({inputs, outputs, workspace.get(), *threads});
  for (size_t i = 0; i < outputs.size(); ++i) {
    results.push_back(read(request.outputs[i], outputs[i]));
  }
  return results;
}

}  // namespace adjoint::cpu
