#include "runtime/cuda/kernels/kernel_tester.h"

#include <array>
#include <cstring>

#include "runtime/cuda/api/cuda.h"
#include "tests/harness/case_graph.h"
#include "tests/harness/interpreter.h"

#ifdef ADJOINT_FAKE_CUDA
#include "tests/fake_cuda/fake_cuda.h"
#endif

namespace adjoint::cuda {
namespace {

using adjoint::testing::from_runtime;
using adjoint::testing::to_runtime;
using Bytes = std::vector<unsigned char>;

// Kernels written by hand ask the context for no library.
Context& no_libraries() {
  alignas(16) static char nothing[16];
  static Context context{
      {}, {}, reinterpret_cast<CublasLt&>(nothing), reinterpret_cast<Cudnn&>(nothing)};
  return context;
}

KernelRequest request_of(const Node& node, const Block& block) {
  KernelRequest request{node, {}, {}};
  for (ValueId id : node.operands) request.inputs.push_back(concrete(block.type(id)));
  for (const Type& type : node.types) request.outputs.push_back(concrete(type));
  return request;
}

struct Buffers {
  Stream stream;
  std::vector<DeviceMemory> memory;

  void* filled(const void* from, size_t bytes) {
    void* data = poisoned(bytes);
    copy_async(data, from, bytes, stream.get());
    stream.synchronize();
    return data;
  }
  // Never null: kernels must not look at empty tensors.
  void* poisoned(size_t bytes) {
    memory.emplace_back(std::max<size_t>(bytes, 1));
    fill_async(memory.back().data(), 0xff, memory.back().bytes(), stream.get());
    return memory.back().data();
  }
  Bytes read(const void* from, size_t bytes) {
    Bytes result(bytes);
    copy_async(result.data(), from, bytes, stream.get());
    stream.synchronize();
    return result;
  }
};

struct RawRun {
  std::vector<Bytes> outputs;
  Status status;
};

// Output `in_place.first` over input `in_place.second`, unless they are negative.
RawRun run_once(const KernelDef& kernel, const KernelRequest& request,
                const std::vector<Tensor>& inputs, std::pair<int, int> in_place) {
  const KernelFacts facts =
      kernel.describe ? kernel.describe(request, no_libraries()) : KernelFacts{};
  Buffers buffers;
  std::vector<const void*> in;
  std::vector<void*> out;
  for (const Tensor& tensor : inputs) {
    in.push_back(buffers.filled(tensor.data(), tensor.byte_count()));
  }
  for (const TensorType& type : request.outputs) out.push_back(buffers.poisoned(type.byte_count()));
  if (in_place.first >= 0) out[in_place.first] = const_cast<void*>(in[in_place.second]);
  const Status clear;
  const std::array<unsigned, kTickets> zeros = {};
  auto* status = static_cast<Status*>(buffers.filled(&clear, sizeof(clear)));
  auto* tickets = static_cast<unsigned*>(buffers.filled(zeros.data(), sizeof(zeros)));
  KernelCall call;
  call.inputs = in;
  call.outputs = out;
  call.workspace = buffers.poisoned(facts.workspace_bytes);
  bool overlaps = device_properties(0).architecture >= kOldestToOverlap;
  call.stream = {buffers.stream.get(), overlaps ? &overlaps : nullptr};
  call.status = status;
  call.launch = 6;
  call.tickets = tickets;
  kernel.prepare(request, no_libraries())(call);
  RawRun run;
  for (size_t i = 0; i < out.size(); ++i) {
    run.outputs.push_back(buffers.read(out[i], request.outputs[i].byte_count()));
  }
  std::memcpy(&run.status, buffers.read(status, sizeof(Status)).data(), sizeof(Status));
  const Bytes left = buffers.read(tickets, sizeof(zeros));
  EXPECT_EQ(std::memcmp(left.data(), zeros.data(), sizeof(zeros)), 0) << kernel.name << ": tickets";
  return run;
}

#ifdef ADJOINT_FAKE_CUDA
using fake_cuda::BlockOrder;
constexpr BlockOrder kOrders[] = {BlockOrder::forward, BlockOrder::reverse, BlockOrder::shuffled};

RawRun run_in_order(BlockOrder order, const KernelDef& kernel, const KernelRequest& request,
                    const std::vector<Tensor>& inputs, std::pair<int, int> in_place) {
  fake_cuda::reset({.block_order = order});
  RawRun run = run_once(kernel, request, inputs, in_place);
  for (const std::string& finding : fake_cuda::findings()) {
    ADD_FAILURE() << kernel.name << ": " << finding;
  }
  return run;
}
#endif

// The run's results for each order of blocks that there is; in place, for one.
std::vector<RawRun> run_in_orders(const KernelDef& kernel, const KernelRequest& request,
                                  const std::vector<Tensor>& inputs, std::pair<int, int> in_place) {
#ifdef ADJOINT_FAKE_CUDA
  if (in_place.first >= 0) {
    return {run_in_order(BlockOrder::shuffled, kernel, request, inputs, in_place)};
  }
  std::vector<RawRun> runs;
  for (BlockOrder order : kOrders) {
    runs.push_back(run_in_order(order, kernel, request, inputs, in_place));
  }
  return runs;
#else
  return {run_once(kernel, request, inputs, in_place)};
#endif
}

const KernelDef& kernel_of(Value result) {
  static const KernelTable kTable = tested_kernels();
  const KernelDef* kernel = kernel_for(kTable, result.node(), result.block());
  if (kernel == nullptr)
    throw std::logic_error("no kernel for " + std::string(result.node().op->name));
  return *kernel;
}

}  // namespace

KernelTable tested_kernels() {
  KernelTable table;
  for (auto family : {softmax_kernels, linear_cross_entropy_kernels, norm_kernels,
                      norm_relu_kernels, pool_kernels, scatter_kernels}) {
    table.add(family());
  }
  return table;
}

const KernelDef* kernel_for(const KernelTable& table, const Node& node, const Block& block) {
  const KernelRequest request = request_of(node, block);
  return table.first(node.op->name, [&](const KernelDef& kernel) {
    return !kernel.supports || kernel.supports(request);
  });
}

KernelRun run_kernel(const KernelDef& kernel, const Node& node, const Block& block,
                     const std::vector<oracle::Tensor>& inputs, const std::string& variant) {
  KernelRequest request = request_of(node, block);
  request.variant = variant;
  std::vector<Tensor> tensors;
  for (const oracle::Tensor& input : inputs) tensors.push_back(to_runtime(input));
  std::vector<std::pair<int, int>> places = {{-1, -1}};
  if (kernel.describe) {
    for (auto place : kernel.describe(request, no_libraries()).in_place) places.push_back(place);
  }
  std::vector<RawRun> runs;
  for (auto place : places) {
    for (RawRun& run : run_in_orders(kernel, request, tensors, place)) {
      runs.push_back(std::move(run));
    }
  }
  for (const RawRun& run : runs) {
    EXPECT_EQ(run.outputs, runs[0].outputs) << kernel.name << " depends on the order or the place";
  }
  KernelRun result{{}, runs[0].status};
  for (size_t i = 0; i < request.outputs.size(); ++i) {
    result.outputs.push_back(
        from_runtime(Tensor::wrap(runs[0].outputs[i].data(), request.outputs[i]).clone()));
  }
  return result;
}

KernelRun run_kernel(Value result, const std::vector<oracle::Tensor>& inputs,
                     const std::string& variant) {
  return run_kernel(kernel_of(result), result.node(), result.block(), inputs, variant);
}

std::vector<std::string> variants_of(Value result) {
  const KernelDef& kernel = kernel_of(result);
  if (kernel.variants == nullptr) return {""};
  return kernel.variants(request_of(result.node(), result.block()), no_libraries());
}

::testing::AssertionResult as_the_oracle(const KernelDef& kernel, const Node& node,
                                         const Block& block, std::vector<oracle::Tensor> inputs) {
  for (oracle::Tensor& input : inputs) input = from_runtime(to_runtime(input));
  const KernelRun run = run_kernel(kernel, node, block, inputs);
  if (run.status.failed != 0) {
    return ::testing::AssertionFailure() << kernel.name << " failed at " << run.status.value;
  }
  const oracle::Outputs want = oracle::evaluate(node, inputs);
  for (size_t i = 0; i < want.size(); ++i) {
    if (auto result = adjoint::testing::agrees(run.outputs[i], want[i]); !result) {
      return result << "\n" << kernel.name << ", output " << i;
    }
  }
  return ::testing::AssertionSuccess();
}

::testing::AssertionResult as_the_oracle(Value result, const RandomInputs& random) {
  static const KernelTable kTable = tested_kernels();
  const Node& node = result.node();
  const KernelDef* kernel = kernel_for(kTable, node, result.block());
  if (kernel == nullptr) return ::testing::AssertionFailure() << "no kernel for " << node.op->name;
  std::vector<oracle::Tensor> inputs;
  for (size_t i = 0; i < node.operands.size(); ++i) {
    const Type& type = result.block().type(node.operands[i]);
    const bool variance = static_cast<int>(i) == random.variance;
    const auto domain = !is_float(type.dtype) ? adjoint::testing::integers(0, random.limit - 1)
                        : variance            ? adjoint::testing::positive()
                                              : adjoint::testing::uniform(-2, 2);
    inputs.push_back(adjoint::testing::sample(domain, type, random.seed + i));
  }
  return as_the_oracle(*kernel, node, result.block(), inputs);
}

}  // namespace adjoint::cuda
