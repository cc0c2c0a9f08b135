#include "runtime/cpu/evaluate.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "graph/error.h"

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

std::optional<std::vector<Literal>> evaluate(const Node& node, std::span<const Literal> operands,
                                             const KernelTable& table) {
  KernelRequest request{node, {}, {}};
  for (const Literal& operand : operands) {
    request.inputs.push_back({operand.dtype(), operand.dims()});
  }
  for (const Type& type : node.types) request.outputs.push_back(concrete(type));
  const KernelDef* kernel = choose(table, request);
  if (kernel == nullptr) return std::nullopt;
  const KernelFacts facts = kernel->describe ? kernel->describe(request) : KernelFacts{};
  if (facts.alias) return std::vector{read(request.outputs[0], operands[0].data())};

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
  Threads threads(1);
  try {
    kernel->prepare(request)({inputs, outputs, workspace.get(), threads});
  } catch (const DataError&) {
    return std::nullopt;
  }
  std::vector<Literal> results;
  for (size_t i = 0; i < outputs.size(); ++i) {
    results.push_back(read(request.outputs[i], outputs[i]));
  }
  return results;
}

Evaluator evaluator(KernelTable table) {
  return [table = std::make_shared<const KernelTable>(std::move(table))](
             const Node& node, std::span<const Literal> operands) {
    return evaluate(node, operands, *table);
  };
}

}  // namespace adjoint::cpu
