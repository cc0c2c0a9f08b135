// GFLOP/s of every kernel for the convolutions and dense products of the reference network and of a
// variant of other sizes: the least time of ten rounds, in which all take turns.
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
  for (int i = 0; i < 5 || (total < 0.05 && i < 1000); ++i) {
    const auto start = std::chrono::steady_clock::now();
    kernel(call);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best = std::min(best, time.count());
    total += time.count();
  }
  return best;
}

// A kernel's least time for each number of threads (1, 2, 4 ...) over all rounds.
struct Row {
  double flops = 0;
  size_t workspace_bytes = 0;
  std::vector<double> seconds = {};

  double gflops(size_t i = 0) const { return flops / seconds[i] * 1e-9; }
};

// What was measured, in the order of its first time: by layer and op, and by kernel.
class Table {
 public:
  explicit Table(int most_threads) : most_threads_(most_threads) {}

  int most_threads() const { return most_threads_; }
  Row& row(const std::string& layer, const std::string& kernel) {
    for (auto& [name, row] : rows_) {
      if (name == std::pair{layer, kernel}) return row;
    }
    return rows_.emplace_back(std::pair{layer, kernel}, Row{}).second;
  }
  void print() const {
    for (const auto& [name, row] : rows_) {
      std::printf("%-24s %-28s", name.first.c_str(), name.second.c_str());
      int threads = 1;
      for (size_t i = 0; i < row.seconds.size(); ++i, threads *= 2) {
        std::printf("  %d: %7.1f GFLOP/s %8.1f us", threads, row.gflops(i), row.seconds[i] * 1e6);
      }
      std::printf("   %.2f MB workspace\n", row.workspace_bytes * 1e-6);
    }
  }

 private:
  int most_threads_;
  std::vector<std::pair<std::pair<std::string, std::string>, Row>> rows_;
};

// Times every kernel of the op that made `y`.
void measure(const std::string& name, Value y, Table& table) {
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
    Row& row = table.row(name, std::string(kernel->name));
    row.flops = facts.flops;
    row.workspace_bytes = facts.workspace_bytes;
    size_t i = 0;
    for (int count = 1; count <= table.most_threads(); count *= 2, ++i) {
      cpu::Threads threads(count);
      const double time = seconds_of(prepared, {inputs, outputs, workspace.get(), threads});
      if (i == row.seconds.size()) row.seconds.push_back(time);
      row.seconds[i] = std::min(row.seconds[i], time);
    }
  }
}

struct Layer {
  std::string name;
  std::vector<int64_t> x;
  std::vector<int64_t> filter;
};

void measure_conv(const Layer& layer, Table& table) {
  Block block("benchmark");
  const Value x = block.argument("x", {DType::f32, Shape::of(layer.x)});
  const Value filter = block.argument("filter", {DType::f32, Shape::of(layer.filter)});
  const Value y = conv2d(x, filter);
  const Value dy = block.argument("dy", y.type());
  measure(layer.name, y, table);
  measure(layer.name, conv2d_input_grad(dy, filter, x.shape()), table);
  measure(layer.name, conv2d_filter_grad(x, dy, filter.shape()), table);
}

void measure_dense(int64_t batch, int64_t in, int64_t out, Table& table) {
  Block block("benchmark");
  const Value x = block.argument("x", {DType::f32, {batch, in}});
  const Value w = block.argument("w", {DType::f32, {in, out}});
  const Value dy = block.argument("dy", {DType::f32, {batch, out}});
  const std::string name = "dense " + std::to_string(in) + "x" + std::to_string(out);
  measure(name, matmul(x, w), table);
  measure(name + " dx", matmul(dy, w, {.transpose_b = true}), table);
  measure(name + " dw", matmul(x, dy, {.transpose_a = true}), table);
}

constexpr const char* kReference[] = {"conv1 5x5 1>24", "conv2 5x5 24>48"};
constexpr const char* kVariant[] = {"variant conv1 3x3 3>7", "variant conv2 3x3 7>13"};

// The variant's GFLOP/s against the reference's, for the convolutions that training runs.
void print_ratios(Table& table) {
  for (int layer : {0, 1}) {
    for (const char* kernel :
         {"adjoint.conv2d", "adjoint.conv2d_input_grad", "adjoint.conv2d_filter_grad"}) {
      if (layer == 0 && std::string(kernel) == "adjoint.conv2d_input_grad") continue;
      const double ratio = table.row(kVariant[layer], kernel).gflops() /
                           table.row(kReference[layer], kernel).gflops();
      std::printf("%-24s %-28s  %.2f of the reference's GFLOP/s\n", kVariant[layer], kernel, ratio);
    }
  }
}

}  // namespace
}  // namespace adjoint

int main(int argc, char** argv) {
  using namespace adjoint;  // NOLINT
  constexpr int kRounds = 10;
  Table table(argc > 1 ? std::atoi(argv[1]) : 2);
  const int64_t batch = argc > 2 ? std::atoi(argv[2]) : 128;
  for (int round = 0; round < kRounds; ++round) {
    measure_conv({kReference[0], {batch, 28, 28, 1}, {5, 5, 1, 24}}, table);
    measure_conv({kVariant[0], {batch, 30, 26, 3}, {3, 3, 3, 7}}, table);
    measure_conv({kReference[1], {batch, 12, 12, 24}, {5, 5, 24, 48}}, table);
    measure_conv({kVariant[1], {batch, 14, 12, 7}, {3, 3, 7, 13}}, table);
    measure_dense(batch, 768, 512, table);
    measure_dense(batch, 512, 10, table);
  }
  table.print();
  print_ratios(table);
}
