// How fast regions run: nanoseconds a call, GB/s of what must be read and written, against a plain
// copy of the same size. Arguments: the number of threads (1).
//
//   bazel run -c opt //benchmarks:region_benchmark -- 2
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "runtime/cpu/kernels/region/program.h"
#include "runtime/cpu/threads.h"

namespace adjoint::cpu {
namespace {

struct Free {
  void operator()(float* memory) const { std::free(memory); }
};
using Buffer = std::unique_ptr<float, Free>;

Buffer make_buffer(int64_t bytes) {
  Buffer buffer(static_cast<float*>(std::aligned_alloc(64, (bytes + 4096) / 64 * 64)));
  std::fill_n(buffer.get(), bytes / 4, 0.5f);
  return buffer;
}

// Seconds of the fastest of several rounds.
double seconds_of(const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  auto run = [&](int64_t times) {
    const auto begin = Clock::now();
    for (int64_t i = 0; i < times; ++i) call();
    return std::chrono::duration<double>(Clock::now() - begin).count() / times;
  };
  const int64_t times = std::max<int64_t>(1, static_cast<int64_t>(0.02 / (run(2) + 1e-9)));
  double best = 1e9;
  for (int round = 0; round < 7; ++round) best = std::min(best, run(times));
  return best;
}

using Build = std::function<std::vector<Value>(const std::vector<Value>&)>;

void measure(const std::string& name, const std::vector<Shape>& shapes, const Build& build,
             Threads& threads, bool in_place = false) {
  Block body("region");
  std::vector<Value> arguments;
  std::vector<Buffer> buffers;
  std::vector<const void*> inputs;
  double bytes = 0;
  for (const Shape& shape : shapes) {
    std::string argument = "a";
    argument += std::to_string(arguments.size());
    arguments.push_back(body.argument(argument, {DType::f32, shape}));
    const int64_t size = shape.element_count().value() * 4;
    bytes += static_cast<double>(size);
    buffers.push_back(make_buffer(size));
    inputs.push_back(buffers.back().get());
  }
  std::vector<void*> outputs;
  for (Value result : build(arguments)) {
    std::string label = "r";
    body.result(label += std::to_string(outputs.size()), result);
    const int64_t size = result.shape().element_count().value() * 4;
    bytes += static_cast<double>(size);
    if (in_place) {
      outputs.push_back(buffers[0].get());
      continue;
    }
    buffers.push_back(make_buffer(size));
    outputs.push_back(buffers.back().get());
  }
  const RegionProgram program = *RegionProgram::compile(body);
  const Buffer workspace = make_buffer(static_cast<int64_t>(program.workspace_bytes()));
  const double seconds = seconds_of([&] {
    program.run({inputs, outputs, workspace.get(), threads});
  });
  std::printf("%-34s %12.0f ns %8.1f GB/s\n", name.c_str(), seconds * 1e9, bytes / seconds / 1e9);
}

void measure_copy(int64_t bytes, Threads& threads) {
  const Buffer from = make_buffer(bytes), to = make_buffer(bytes);
  const int64_t shards = shard_count(bytes, 1 << 18);
  const double seconds = seconds_of([&] {
    threads.parallel_for(shards, [&](int64_t shard) {
      const int64_t begin = shard_begin(bytes, shards, shard);
      std::memcpy(reinterpret_cast<char*>(to.get()) + begin,
                  reinterpret_cast<const char*>(from.get()) + begin,
                  shard_begin(bytes, shards, shard + 1) - begin);
    });
  });
  std::printf("%-34s %12.0f ns %8.1f GB/s\n",
              ("copy of " + std::to_string(bytes >> 20) + " MB").c_str(), seconds * 1e9,
              2 * bytes / seconds / 1e9);
}

Value batch_norm_relu(const std::vector<Value>& v) { return relu((v[0] - v[1]) * v[2] + v[3]); }

void run(Threads& threads) {
  using Values = const std::vector<Value>&;
  constexpr int64_t kBig = 16 << 20;
  measure_copy(64 << 20, threads);
  measure(
      "add, 16M", {{kBig}, {kBig}}, [](Values v) { return std::vector{v[0] + v[1]}; }, threads);
  measure(
      "relu, 16M", {{kBig}}, [](Values v) { return std::vector{relu(v[0])}; }, threads);
  measure(
      "w - lr g in place, 3.2M", {{3136, 1024}, {3136, 1024}, {}},
      [](Values v) { return std::vector{v[0] - v[2] * v[1]}; }, threads, true);
  measure(
      "sum, 16M", {{kBig}}, [](Values v) { return std::vector{sum(v[0])}; }, threads);
  const Shape images = {128, 28, 28, 24};
  measure(
      "bias + relu [128,28,28,24]", {images, {24}},
      [](Values v) { return std::vector{relu(v[0] + v[1])}; }, threads);
  measure(
      "normalise + relu [128,28,28,24]", {images, {24}, {24}, {24}},
      [](Values v) { return std::vector{batch_norm_relu(v)}; }, threads);
  measure(
      "moments [128,28,28,24]", {images},
      [](Values v) {
        return std::vector{mean(v[0], {0, 1, 2}), mean(square(v[0]), {0, 1, 2})};
      },
      threads);
  measure(
      "bias gradient [128,28,28,24]", {images},
      [](Values v) {
        return std::vector{sum(v[0], {0, 1, 2})};
      },
      threads);
  measure(
      "bias gradient [128,784]", {{128, 784}}, [](Values v) { return std::vector{sum(v[0], {0})}; },
      threads);
  measure(
      "sum of rows [100000,10]", {{100000, 10}},
      [](Values v) { return std::vector{sum(v[0], {1})}; }, threads);
  measure(
      "rows - column [100000,10]", {{100000, 10}, {100000, 1}},
      [](Values v) { return std::vector{v[0] - v[1]}; }, threads);
  measure(
      "rows - column [1000,1000]", {{1000, 1000}, {1000, 1}},
      [](Values v) { return std::vector{v[0] - v[1]}; }, threads);
  measure(
      "exp, 1M", {{1 << 20}}, [](Values v) { return std::vector{exp(v[0])}; }, threads);
  measure(
      "tanh, 1M", {{1 << 20}}, [](Values v) { return std::vector{tanh(v[0])}; }, threads);
  measure(
      "gelu, 1M", {{1 << 20}}, [](Values v) { return std::vector{gelu(v[0])}; }, threads);
  measure(
      "Adam's update, 1M", {{1 << 20}, {1 << 20}, {1 << 20}, {1 << 20}},
      [](Values v) {
        const Value m = 0.9 * v[1] + 0.1 * v[3];
        const Value s = 0.999 * v[2] + 0.001 * square(v[3]);
        return std::vector{v[0] - 0.001 * m / (sqrt(s) + 1e-8), m, s};
      },
      threads);
  for (int64_t size : {1, 10, 128, 1280, 12800}) {
    measure(
        "add, " + std::to_string(size), {{size}, {size}},
        [](Values v) { return std::vector{v[0] + v[1]}; }, threads);
  }
  measure(
      "w - lr g, 128", {{128}, {128}, {}}, [](Values v) { return std::vector{v[0] - v[2] * v[1]}; },
      threads);
  measure(
      "sum of rows [128,10]", {{128, 10}}, [](Values v) { return std::vector{sum(v[0], {1})}; },
      threads);
}

}  // namespace
}  // namespace adjoint::cpu

int main(int argc, char** argv) {
  adjoint::cpu::Threads threads(argc > 1 ? std::atoi(argv[1]) : 1);
  adjoint::cpu::run(threads);
}
