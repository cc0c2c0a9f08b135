// What a training step of the reference network asks of a GPU, without a GPU: it is planned and run
// once on the test double, and its time on an H100 estimated from the data sheet.
//
//   bazel run //benchmarks:gpu_plan              # batch 128
//   gpu_plan 96
//
// The launches counted are those that ran: every kernel, and every library call as one.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "examples/mnist/model.h"
#include "runtime/cuda/device.h"
#include "runtime/executable.h"
#include "runtime/optimize.h"
#include "runtime/plan_streams.h"
#include "runtime/planner.h"
#include "tests/fake_cuda/fake_cuda.h"

namespace adjoint::mnist {
namespace {

// H100 SXM, its data sheet.
constexpr double kBytesPerSecond = 3.35e12;
struct Precision {
  const char* name;
  double product_flops_per_second;  // of matrix products and convolutions
};
constexpr Precision kPrecisions[] = {{"f32", 67e12}, {"tf32", 495e12}, {"bf16", 990e12}};
constexpr double kOtherFlopsPerSecond = 67e12;
// An assumption: what a node of a replayed graph costs beside its work, on one stream.
constexpr double kNodeSeconds = 1.5e-6;
constexpr int64_t kImages = 60000;

bool is_product(const Node& node) {
  const std::string_view op = node.op->name;
  if (op.starts_with("conv2d") || op.starts_with("matmul")) return true;
  for (const auto& block : node.blocks) {
    for (int32_t i = 0; i < static_cast<int32_t>(block->size()); ++i) {
      if (is_product(block->node(i))) return true;
    }
  }
  return false;
}

bool is_product(const Plan& plan, const Launch& launch) {
  return !launch.is_copy() && is_product(plan.function->node(launch.node));
}

double bytes_of_products(const Plan& plan) {
  double bytes = 0;
  for (const Launch& launch : plan.launches) {
    if (is_product(plan, launch)) bytes += launch.bytes;
  }
  return bytes;
}

// The larger of the two times of each launch.
double work_seconds(const Plan& plan, const Precision& precision) {
  double seconds = 0;
  for (const Launch& launch : plan.launches) {
    const double speed =
        is_product(plan, launch) ? precision.product_flops_per_second : kOtherFlopsPerSecond;
    seconds += std::max(launch.bytes / kBytesPerSecond, launch.flops / speed);
  }
  return seconds;
}

struct Sum {
  int launches = 0;
  double bytes = 0;
  double flops = 0;
};

void print_plan(const Plan& plan) {
  std::map<std::string, Sum> kernels;
  for (const Launch& launch : plan.launches) {
    Sum& sum = kernels[launch.kernel.substr(0, launch.kernel.find('#'))];
    ++sum.launches;
    sum.bytes += launch.bytes;
    sum.flops += launch.flops;
  }
  std::printf("the plan's entries by kernel        number       MB   MFLOP\n");
  for (const auto& [kernel, sum] : kernels) {
    std::printf("  %-32s  %6d  %7.2f  %6.0f\n", kernel.c_str(), sum.launches, 1e-6 * sum.bytes,
                1e-6 * sum.flops);
  }
  const double least =
      bytes_of_products(plan) + 2.0 * static_cast<double>(plan.bytes_of(StorageKind::variable));
  std::printf("  %-32s  %6zu  %7.2f  %6.0f\n", "all", plan.launches.size(),
              1e-6 * plan.bytes_moved(), 1e-6 * plan.flops());
  std::printf("least bytes: %.2f MB (products and convolutions by themselves, and each variable\n",
              1e-6 * least);
  std::printf("read and written once); the plan moves %.2f times as much\n\n",
              plan.bytes_moved() / least);
}

// Runs the step once; returns how much was launched.
int64_t print_launches(Executable& train, State& state, const DimBindings& bindings) {
  const auto before = fake_cuda::launches();
  const Tensor loss = Tensor::zeros({DType::f32, {}});  // on the host
  train.run(state, {}, {.bindings = bindings, .into = {{"loss", loss}}});
  int64_t all = 0;
  std::printf("launches of a step, by name\n");
  for (const auto& [name, count] : fake_cuda::launches()) {
    const auto earlier = before.find(name);
    const int64_t launches = count - (earlier == before.end() ? 0 : earlier->second);
    all += launches;
    if (launches != 0) std::printf("  %-40s  %3lld\n", name.c_str(), (long long)launches);
  }
  std::printf("  %-40s  %3lld\n\n", "all", (long long)all);
  return all;
}

void print_roofline(const Plan& plan, int64_t launches) {
  const double overhead = kNodeSeconds * static_cast<double>(launches);
  const double steps =
      static_cast<double>(kImages) / static_cast<double>(plan.bindings.at("batch"));
  std::printf("H100 SXM, estimated from its data sheet, not measured on a GPU\n");
  std::printf("microseconds a step: %.1f for launches (%.1f each, assumed), and for the work\n",
              1e6 * overhead, 1e6 * kNodeSeconds);
  for (const Precision& precision : kPrecisions) {
    const double work = work_seconds(plan, precision);
    std::printf("  %-4s  %5.1f; 20 epochs without evaluation: %.2f s\n", precision.name, 1e6 * work,
                20 * steps * (work + overhead));
  }
  std::printf("(every launch reads and writes HBM here, in 32 bits, bf16's too)\n");
}

// The planner's own estimate, with streams and without.
void print_streams(const Plan& plan, const Plan& one_stream, const StreamModel& model) {
  std::map<int32_t, int> launches;
  size_t waits = 0;
  for (const Launch& launch : plan.launches) {
    ++launches[launch.stream];
    waits += launch.waits.size();
  }
  std::printf("\nthe plan's streams and their entries:");
  for (const auto& [stream, count] : launches) std::printf(" %d: %d,", stream, count);
  std::printf(" %zu waits\n", waits);
  std::printf("arena: %.2f MB, on one stream %.2f MB\n", 1e-6 * double(plan.arena_bytes()),
              1e-6 * double(one_stream.arena_bytes()));
  std::printf(
      "microseconds a step, as the planner estimates (%.1f an entry, %.1f a wait, assumed;\n"
      "f32): %.1f, on one stream %.1f\n",
      1e6 * model.launch_seconds, 1e6 * model.event_seconds, 1e6 * step_seconds(plan, model),
      1e6 * step_seconds(one_stream, model));
}

void run(int64_t batch) {
  fake_cuda::reset();
  const std::shared_ptr<Device> device = cuda::device({.autotune = false, .kernel_cache = ""});
  const MnistModel model({.network = "cnn"});
  const auto optimized = optimize(model.train());
  State state(model.module(), device);
  state.bind(kTrainImages, Tensor::zeros({DType::u8, {kImages, 28, 28, 1}}));
  state.bind(kTrainLabels, Tensor::zeros({DType::u8, {kImages}}));
  Executable train(*optimized.function, device);
  const DimBindings bindings = {{"batch", batch}};
  const Plan& plan = train.prepare(state, bindings);
  std::printf("a training step of the reference network, batch %lld\n\n", (long long)batch);
  print_plan(plan);
  print_roofline(plan, print_launches(train, state, bindings));
  const auto one = cuda::device({.streams = 1, .kernel_cache = ""});
  print_streams(plan, make_plan(*optimized.function, plan.bindings, *one), device->stream_model());
}

}  // namespace
}  // namespace adjoint::mnist

int main(int argc, char** argv) {
  const int64_t batch = argc > 1 ? std::atoll(argv[1]) : 128;
  if (batch < 1 || batch > 60000) {
    std::fprintf(stderr, "gpu_plan: a batch of 1 to 60000 images\n");
    return 2;
  }
  adjoint::mnist::run(batch);
}
