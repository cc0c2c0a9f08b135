#include "runtime/cpu/kernels/kernel_tester.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <random>
#include <span>

#include "graph/literal.h"

namespace adjoint::cpu {
namespace {

constexpr size_t kGuardBytes = 64;
constexpr std::byte kPoison{0xff};  // NaN in every float type

// Aligned memory filled with poison, and as much of it again behind the end.
std::shared_ptr<std::byte> poisoned(size_t bytes) {
  const size_t total = (bytes + kGuardBytes + 63) / 64 * 64;
  auto* data = static_cast<std::byte*>(std::aligned_alloc(64, total));
  std::memset(data, static_cast<int>(kPoison), total);
  return {data, std::free};
}

bool guard_is_whole(const std::byte* data, size_t bytes) {
  for (size_t i = 0; i < kGuardBytes; ++i) {
    if (data[bytes + i] != kPoison) return false;
  }
  return true;
}

TensorType tensor_type(const Type& type) { return {type.dtype, type.shape.static_dims()}; }

std::vector<TestTensor> run_with(int thread_count, const KernelDef& kernel,
                                 const KernelRequest& request,
                                 const std::vector<TestTensor>& operands) {
  const KernelFacts facts = kernel.describe ? kernel.describe(request) : KernelFacts{};
  const PreparedKernel prepared = kernel.prepare(request);
  std::vector<const void*> inputs;
  for (const TestTensor& operand : operands) inputs.push_back(operand.data());
  std::vector<TestTensor> results;
  std::vector<void*> outputs;
  for (const TensorType& type : request.outputs)
    outputs.push_back(results.emplace_back(type).data());
  const std::shared_ptr<std::byte> workspace = poisoned(facts.workspace_bytes);
  Threads threads(thread_count);
  prepared({inputs, outputs, workspace.get(), threads});
  EXPECT_TRUE(guard_is_whole(workspace.get(), facts.workspace_bytes)) << kernel.name;
  for (const TestTensor& result : results) {
    EXPECT_TRUE(
        guard_is_whole(static_cast<const std::byte*>(result.data()), result.type().byte_count()))
        << kernel.name;
  }
  return results;
}

}  // namespace

TestTensor::TestTensor(TensorType type)
    : type_(std::move(type)), bytes_(poisoned(type_.byte_count())) {}

TestTensor TestTensor::of(DType dtype, std::vector<int64_t> dims,
                          const std::vector<double>& values) {
  TestTensor tensor({dtype, std::move(dims)});
  for (size_t i = 0; i < values.size(); ++i) tensor.set(i, values[i]);
  return tensor;
}

double TestTensor::at(int64_t index) const {
  return load_element(type_.dtype, bytes_.get() + index * size_of(type_.dtype));
}

void TestTensor::set(int64_t index, double value) {
  store_element(type_.dtype, value, bytes_.get() + index * size_of(type_.dtype));
}

bool TestTensor::same_bits(const TestTensor& other) const {
  return type_ == other.type_ &&
         std::memcmp(bytes_.get(), other.bytes_.get(), type_.byte_count()) == 0;
}

TestTensor random_tensor(const Type& type, uint64_t seed) {
  if (!is_float(type.dtype)) {
    return random_integers(type, type.dtype == DType::boolean ? 2 : 10, seed);
  }
  TestTensor tensor(tensor_type(type));
  std::mt19937_64 generator(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  for (int64_t i = 0; i < tensor.size(); ++i) tensor.set(i, uniform(generator));
  return tensor;
}

TestTensor random_integers(const Type& type, int64_t limit, uint64_t seed) {
  TestTensor tensor(tensor_type(type));
  std::mt19937_64 generator(seed);
  for (int64_t i = 0; i < tensor.size(); ++i) tensor.set(i, generator() % limit);
  return tensor;
}

KernelRequest request_of(Value result) {
  const Node& node = result.node();
  KernelRequest request{node, {}, {}};
  for (ValueId operand : node.operands) {
    request.inputs.push_back(tensor_type(result.block().type(operand)));
  }
  for (const Type& type : node.types) request.outputs.push_back(tensor_type(type));
  return request;
}

std::vector<std::string_view> kernels_for(Value result) {
  static const KernelTable kTable = standard_kernels();
  const KernelRequest request = request_of(result);
  std::vector<std::string_view> names;
  for (const KernelDef* kernel : kTable.for_op(request.node.op->name)) {
    if (!kernel->supports || kernel->supports(request)) names.push_back(kernel->name);
  }
  return names;
}

std::vector<TestTensor> run_kernel(Value result, const std::vector<TestTensor>& operands,
                                   std::string_view name) {
  static const KernelTable kTable = standard_kernels();
  const KernelRequest request = request_of(result);
  const KernelDef* kernel =
      name.empty() ? choose(kTable, request) : kTable.find(request.node.op->name, name);
  if (kernel == nullptr) throw PlanError("no kernel for " + std::string(request.node.op->name));
  std::vector<TestTensor> results = run_with(1, *kernel, request, operands);
  for (int threads : {2, 3}) {
    const std::vector<TestTensor> again = run_with(threads, *kernel, request, operands);
    for (size_t i = 0; i < results.size(); ++i) {
      EXPECT_TRUE(results[i].same_bits(again[i])) << kernel->name << " with " << threads;
    }
  }
  return results;
}

}  // namespace adjoint::cpu
