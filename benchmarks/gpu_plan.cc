// What a training step of the reference network asks of a GPU, without a GPU: it is planned and run
// once on the test double, and its time on an H100 estimated from the data sheet.
//
//   bazel run //benchmarks:gpu_plan              # f32, batch 128
//   gpu_plan 96 bf16                             # what is planned in bf16
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
#include "runtime/precision.h"
#include "tests/fake_cuda/fake_cuda.h"

namespace adjoint::mnist {
namespace {

// H100 SXM, its data sheet.
constexpr double kBytesPerSecond = 3.35e12;
// Of matrix products and convolutions.
double product_flops_per_second(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return 67e12;
    case Precision::tf32:
      return 495e12;
    case Precision::bf16:
      return 990e12;
  }
  return 0;
}
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

// Of those in the node, their operands and results, whatever else a region has.
double bytes_of_products(const Block& block, const Node& node) {
  size_t bytes = 0;
  if (node.blocks.empty() && is_product(node)) {
    for (const Type& type : node.types) bytes += concrete(type).byte_count();
    for (ValueId operand : node.operands) bytes += concrete(block.type(operand)).byte_count();
  }
  double sum = static_cast<double>(bytes);
  for (const auto& inner : node.blocks) {
    for (int32_t i = 0; i < static_cast<int32_t>(inner->size()); ++i) {
      sum += bytes_of_products(*inner, inner->node(i));
    }
  }
  return sum;
}

double bytes_of_products(const Plan& plan) {
  double bytes = 0;
  for (const Launch& launch : plan.launches) {
    if (launch.is_copy()) continue;
    bytes += bytes_of_products(*plan.function, plan.function->node(launch.node));
  }
  return bytes;
}

// The larger of the two times of each launch.
double work_seconds(const Plan& plan, Precision precision) {
  double seconds = 0;
  for (const Launch& launch : plan.launches) {
    const double speed =
        is_product(plan, launch) ? product_flops_per_second(precision) : kOtherFlopsPerSecond;
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
  std::printf("the plan's entries by kernel           number       MB   MFLOP\n");
  for (const auto& [kernel, sum] : kernels) {
    std::printf("  %-35s  %6d  %7.2f  %6.0f\n", kernel.c_str(), sum.launches, 1e-6 * sum.bytes,
                1e-6 * sum.flops);
  }
  const double least =
      bytes_of_products(plan) + 2.0 * static_cast<double>(plan.bytes_of(StorageKind::variable));
  std::printf("  %-35s  %6zu  %7.2f  %6.0f\n", "all", plan.launches.size(),
              1e-6 * plan.bytes_moved(), 1e-6 * plan.flops());
  std::printf("least bytes: %.2f MB (products and convolutions by themselves, and each variable\n",
              1e-6 * least);
  std::printf("read and written once); the plan moves %.2f times as much\n\n",
              plan.bytes_moved() / least);
}

void print_launches(const std::map<std::string, int64_t>& launches) {
  int64_t all = 0;
  std::printf("launches of a step, by name\n");
  for (const auto& [name, count] : launches) {
    all += count;
    if (count != 0) std::printf("  %-40s  %3lld\n", name.c_str(), (long long)count);
  }
  std::printf("  %-40s  %3lld\n", "all", (long long)all);
}

void print_roofline(const Plan& plan, Precision precision, int64_t launches) {
  const double overhead = kNodeSeconds * static_cast<double>(launches);
  const double steps =
      static_cast<double>(kImages) / static_cast<double>(plan.bindings.at("batch"));
  const double work = work_seconds(plan, precision);
  std::printf("  %-9s  %8lld  %6.2f  %6.1f  %6.1f  %11.2f\n", std::string(name(precision)).c_str(),
              (long long)launches, 1e-6 * plan.bytes_moved(), 1e6 * overhead, 1e6 * work,
              20 * steps * (work + overhead));
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
      "microseconds a step, as the planner estimates (%.1f an entry, measured;\n"
      "%.1f a wait, assumed): %.1f, on one stream %.1f\n",
      1e6 * model.launch_seconds, 1e6 * model.event_seconds, 1e6 * step_seconds(plan, model),
      1e6 * step_seconds(one_stream, model));
}

// A training step in one precision, planned and run once.
class Step {
 public:
  Step(const MnistModel& model, Precision precision, int64_t batch)
      : options_{.autotune = false, .tf32 = precision == Precision::tf32, .kernel_cache = ""},
        device_(cuda::device(options_)),
        function_(apply_precision(*optimize(model.train()).function, precision).function),
        state_(model.module(), device_),
        train_(*function_, device_),
        bindings_{{"batch", batch}} {
    state_.bind(kTrainImages, Tensor::zeros({DType::u8, {kImages, 28, 28, 1}}));
    state_.bind(kTrainLabels, Tensor::zeros({DType::u8, {kImages}}));
    plan_ = &train_.prepare(state_, bindings_);
    const auto before = fake_cuda::launches();
    const Tensor loss = Tensor::zeros({DType::f32, {}});  // on the host
    train_.run(state_, {}, {.bindings = bindings_, .into = {{"loss", loss}}});
    launches_ = fake_cuda::launches();
    for (const auto& [name, count] : before) launches_[name] -= count;
  }

  const Plan& plan() const { return *plan_; }
  // What it launched, by name.
  const std::map<std::string, int64_t>& launches() const { return launches_; }
  int64_t launch_count() const {
    int64_t all = 0;
    for (const auto& [name, count] : launches_) all += count;
    return all;
  }
  void print() const {
    print_plan(plan());
    print_launches(launches());
    cuda::DeviceOptions one = options_;
    one.streams = 1;
    print_streams(plan(), make_plan(*function_, plan().bindings, *cuda::device(one)),
                  device_->stream_model());
  }

 private:
  cuda::DeviceOptions options_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<Function> function_;
  State state_;
  Executable train_;
  DimBindings bindings_;
  const Plan* plan_ = nullptr;
  std::map<std::string, int64_t> launches_;
};

void run(int64_t batch, Precision shown) {
  fake_cuda::reset();
  const MnistModel model({.network = "cnn"});
  std::map<Precision, std::unique_ptr<Step>> steps;
  for (const Precision precision : {Precision::f32, Precision::tf32, Precision::bf16}) {
    steps[precision] = std::make_unique<Step>(model, precision, batch);
  }
  std::printf("a training step of the reference network, batch %lld, %s\n\n", (long long)batch,
              std::string(name(shown)).c_str());
  steps[shown]->print();
  std::printf("\nH100 SXM, estimated from its data sheet, not measured on a GPU (us a step, for\n");
  std::printf("launches, %.1f each, assumed, and for the work, all of it from and to HBM)\n",
              1e6 * kNodeSeconds);
  std::printf("  precision  launches      MB  launch    work  20 epochs, s\n");
  for (const auto& [precision, step] : steps) {
    print_roofline(step->plan(), precision, step->launch_count());
  }
}

}  // namespace
}  // namespace adjoint::mnist

int main(int argc, char** argv) {
  const int64_t batch = argc > 1 ? std::atoll(argv[1]) : 128;
  const auto precision = adjoint::precision_of(argc > 2 ? argv[2] : "f32");
  if (batch < 1 || batch > 60000 || !precision) {
    std::fprintf(stderr, "gpu_plan: a batch of 1 to 60000 images, then f32, tf32 or bf16\n");
    return 2;
  }
  adjoint::mnist::run(batch, *precision);
}
