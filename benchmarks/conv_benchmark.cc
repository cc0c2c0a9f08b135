// GFLOP/s of every kernel for the convolutions and dense products of the reference network and of a
// variant of other sizes.
//
//   bazel run //benchmarks:conv_benchmark            # 1 and 2 threads, batch 128
//   conv_benchmark 4 96                              # up to 4 threads, batch 96
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "ops/conv.h"
#include "ops/linalg.h"
#include "runtime/cpu/kernel.h"

namespace adjoint {
namespace {

using Buffer = std::unique_ptr<void, decltype(&std::free)>;

Buffer buffer(size_t bytes) {
  const size_t size = (bytes + 127) / 64 * 64;
  Buffer result(std::aligned_alloc(64, size), std::free);
  for (size_t i = 0; i < size / 4; ++i) static_cast<float*>(result.get())[i] = i % 17 * 0.1f - 0.8f;
  return result;
}

double seconds_of(const cpu::PreparedKernel& kernel, const cpu::KernelCall& call) {
  double best = 1e9, total = 0;
  for (int i = 0; i < 5 || (total < 0.3 && i < 1000); ++i) {
    const auto start = std::chrono::steady_clock::now();
    kernel(call);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best = std::min(best, time.count());
    total += time.count();
  }
  return best;
}

// One line for each kernel of the op that made `y`.
void measure(const std::string& name, Value y, int most_threads) {
  static const cpu::KernelTable kTable = cpu::standard_kernels();
  const Node& node = y.node();
  KernelRequest request{node, {}, {concrete(y.type())}};
  std::vector<Buffer> buffers;
  std::vector<const void*> inputs;
  for (ValueId operand : node.operands) {
    request.inputs.push_back(concrete(y.block().type(operand)));
    inputs.push_back(buffers.emplace_back(buffer(request.inputs.back().byte_count())).get());
  }
  const Buffer out = buffer(request.outputs[0].byte_count());
  std::vector<void*> outputs = {out.get()};
  for (const cpu::KernelDef* kernel : kTable.for_op(node.op->name)) {
    if (kernel->supports && !kernel->supports(request)) continue;
    const KernelFacts facts = kernel->describe(request);
    const cpu::PreparedKernel prepared = kernel->prepare(request);
    const Buffer workspace = buffer(facts.workspace_bytes);
    std::printf("%-24s %-28s", name.c_str(), std::string(kernel->name).c_str());
    for (int count = 1; count <= most_threads; count *= 2) {
      cpu::Threads threads(count);
      const double time = seconds_of(prepared, {inputs, outputs, workspace.get(), threads});
      std::printf("  %d: %7.1f GFLOP/s %8.1f us", count, facts.flops / time * 1e-9, time * 1e6);
    }
    std::printf("   %.2f MB workspace\n", facts.workspace_bytes * 1e-6);
  }
}

struct Layer {
  std::string name;
  std::vector<int64_t> x;
  std::vector<int64_t> filter;
};

void measure_conv(const Layer& layer, int most_threads) {
  Block block("benchmark");
  const Value x = block.argument("x", {DType::f32, Shape::of(layer.x)});
  const Value filter = block.argument("filter", {DType::f32, Shape::of(layer.filter)});
  const Value y = conv2d(x, filter);
  const Value dy = block.argument("dy", y.type());
  measure(layer.name, y, most_threads);
  measure(layer.name, conv2d_input_grad(dy, filter, x.shape()), most_threads);
  measure(layer.name, conv2d_filter_grad(x, dy, filter.shape()), most_threads);
}

void measure_dense(int64_t batch, int64_t in, int64_t out, int most_threads) {
  Block block("benchmark");
  const Value x = block.argument("x", {DType::f32, {batch, in}});
  const Value w = block.argument("w", {DType::f32, {in, out}});
  const Value dy = block.argument("dy", {DType::f32, {batch, out}});
  const std::string name = "dense " + std::to_string(in) + "x" + std::to_string(out);
  measure(name, matmul(x, w), most_threads);
  measure(name + " dx", matmul(dy, w, {.transpose_b = true}), most_threads);
  measure(name + " dw", matmul(x, dy, {.transpose_a = true}), most_threads);
}

}  // namespace
}  // namespace adjoint

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  const int64_t batch = argc > 2 ? std::atoi(argv[2]) : 128;
  for (const adjoint::Layer& layer : {
           adjoint::Layer{"conv1 5x5 1>24", {batch, 28, 28, 1}, {5, 5, 1, 24}},
           {"conv2 5x5 24>48", {batch, 12, 12, 24}, {5, 5, 24, 48}},
           {"variant conv1 3x3 3>7", {batch, 30, 26, 3}, {3, 3, 3, 7}},
           {"variant conv2 3x3 7>13", {batch, 14, 12, 7}, {3, 3, 7, 13}},
       }) {
    adjoint::measure_conv(layer, threads);
  }
  adjoint::measure_dense(batch, 768, 512, threads);
  adjoint::measure_dense(batch, 512, 10, threads);
}
