// What goes wrong on a GPU: calls that fail at any point of a training step, devices that cannot be
// used, bad values. A typed error each, and a state that is never between two steps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "autodiff/optimizers.h"
#include "graph/error.h"
#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/layers/layers.h"
#include "ops/layers/sequential.h"
#include "ops/linalg.h"
#include "ops/loss.h"
#include "ops/reduce.h"
#include "runtime/executable.h"
#include "runtime/profiler.h"
#include "tests/harness/gpu.h"

namespace adjoint::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kRows = 10, kColumns = 6, kClasses = 3, kBatch = 4;
const std::vector<int64_t> kIndex = {7, 0, 9, 3};
const std::vector<int64_t> kLabels = {2, 0, 1, 1};

// A few layers and an update, on rows of a resource that are chosen by index. The state is written
// by several launches: the logits are copied into theirs, what is generated writes straight.
class Training {
 public:
  Training() : network_(module_, {DType::f32, {kBatch, kColumns}}, layers_of_it()) {
    module_.variable("steps", {DType::i64, {}}, {}, false);
    module_.variable("logits", {DType::f32, {kBatch, kClasses}}, {}, false);
    module_.resource("rows", {DType::f32, {kRows, kColumns}});
    Function& f = module_.function("train");
    const Value rows = f.resource(*module_.find_resource("rows"));
    const Value index = f.argument("index", {DType::i64, {kBatch}});
    const Value labels = f.argument("labels", {DType::i64, {kBatch}});
    gather_line = __LINE__ + 1;
    const Value x = gather(rows, index);
    const Value logits = network_.apply({f, Mode::training}, x);
    loss_line = __LINE__ + 1;
    const Value losses = softmax_cross_entropy(logits, labels);
    const Value loss = mean(losses);
    Sgd({.learning_rate = 0.1, .momentum = 0.9}).minimize(f, loss);
    const Variable& steps = *module_.find_variable("steps");
    f.update(steps, f.read(steps) + constant(f, Literal::integer(1)));
    f.update(*module_.find_variable("logits"), logits);
    f.result("loss", loss);
  }
  const Module& module() const { return module_; }
  const Function& function() const { return module_.get_function("train"); }

  int gather_line = 0, loss_line = 0;

 private:
  static std::vector<LayerSpec> layers_of_it() {
    using namespace layers;  // NOLINT
    return {dense("dense1", 5), batch_norm("norm"), relu(), dense("dense2", kClasses)};
  }

  Module module_{"faults"};
  Sequential network_;
};

// Numbers from -1 to 1, some of each.
Tensor numbers(const TensorType& type) {
  const Tensor tensor = Tensor::zeros(type);
  if (type.dtype != DType::f32) return tensor;
  const auto values = tensor.values<float>();
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i * 37 % 64) / 32 - 1;
  }
  return tensor;
}

// All variables' bytes.
std::string bytes_of(const State& state) {
  std::string bytes;
  for (const std::string& name : state.variable_names()) {
    const Tensor value = state.get(name);
    bytes.append(static_cast<const char*>(value.data()), value.byte_count());
  }
  return bytes;
}

// How a step is watched.
struct Watch {
  const char* name = "None";
  bool profile = false;
  bool check_finite = false;
};
[[maybe_unused]] void PrintTo(const Watch& watch, std::ostream* out) { *out << watch.name; }

// Everything of a program that trains. The feeds and the loss are on the device, so that steps can
// be enqueued without a wait.
struct Session {
  Session(const Training& training, std::shared_ptr<Device> on)
      : device(std::move(on)),
        state(training.module(), device),
        step(training.function(), device),
        index(device->allocate({DType::i64, {kBatch}})),
        labels(device->allocate({DType::i64, {kBatch}})),
        loss(device->allocate({DType::f32, {}})) {
    for (const std::string& name : state.variable_names()) {
      state.set(name, numbers(state.variable_type(name)));
    }
    state.bind("rows", numbers({DType::f32, {kRows, kColumns}}));
    device->copy(Tensor::of<int64_t>({kBatch}, kIndex), index);
    device->copy(Tensor::of<int64_t>({kBatch}, kLabels), labels);
    step.prepare();
  }

  void run(const Watch& watch = {}) {
    Profiler profiler;
    step.run(state, {{"index", index}, {"labels", labels}},
             {.into = {{"loss", loss}},
              .profiler = watch.profile ? &profiler : nullptr,
              .check_finite = watch.check_finite});
    EXPECT_EQ(profiler.seconds() > 0, watch.profile);
  }
  float read_loss() const {
    const Tensor host = Tensor::uninitialized(loss.type());
    device->copy(loss, host);
    return host.item<float>();
  }

  std::shared_ptr<Device> device;
  State state;
  Executable step;
  Tensor index, labels, loss;
};

// What the variables are before and after each of the first steps.
std::vector<std::string> snapshots(const Training& training, std::shared_ptr<Device> device,
                                   int steps) {
  Session session(training, std::move(device));
  std::vector<std::string> found = {bytes_of(session.state)};
  for (int i = 0; i < steps; ++i) {
    session.run();
    found.push_back(bytes_of(session.state));
  }
  return found;
}

#ifdef ADJOINT_FAKE_CUDA

void expect_no_findings(const std::string& when) {
  for (const std::string& finding : fake_cuda::findings()) ADD_FAILURE() << when << ": " << finding;
}

// Runs `program` with its API calls `first`, `first + step` ... failing in turn, until it comes
// through.
void fail_every_call(int64_t first, int64_t step, const std::function<void()>& program) {
  for (int64_t n = first;; n += step) {
    const std::string when = "with call " + std::to_string(n) + " failing";
    SCOPED_TRACE(when);
    fake_cuda::reset({.failing_call = n});
    program();
    const bool done = fake_cuda::call_count() <= n;
    expect_no_findings(when);
    fake_cuda::reset();
    expect_no_findings(when + ", afterwards");  // what was not freed
    if (done || ::testing::Test::HasFatalFailure()) return;
  }
}

std::shared_ptr<Device> cached_device() { return cuda::device({.kernel_cache = kernel_cache()}); }

// The first run is eager, the second one is captured, the third one is a replay; unless they are
// watched.
constexpr int kSteps = 3;

int64_t state_writes(const Plan& plan) {
  return std::ranges::count_if(plan.launches, &Launch::writes_state);
}

// Trains kSteps steps. After an error the state must be one of `want`, and training goes on.
void train_through_an_error(const Training& training, const std::vector<std::string>& want,
                            const Watch& watch) {
  std::optional<Session> session;
  try {
    session.emplace(training, cached_device());
  } catch (const Error& error) {
    EXPECT_STRNE(error.what(), "");
    session.emplace(training, cached_device());  // the call after the failing one works
  }
  size_t done = 0;
  for (int i = 0; i < kSteps; ++i) {
    bool failed = false;
    try {
      session->run(watch);
      session->read_loss();
    } catch (const Error& error) {
      EXPECT_STRNE(error.what(), "");
      failed = true;
    }
    std::string now;
    try {
      now = bytes_of(session->state);
    } catch (const Error&) {
      now = bytes_of(session->state);
    }
    if (!failed || now != want[done]) ++done;
    ASSERT_TRUE(now == want[done])
        << "after step " << i << (failed ? ", which failed," : "") << " the state is neither as "
        << "before nor as after it";
  }
}

// Every call, dealt out to a few tests.
class GpuFailingCalls : public ::testing::TestWithParam<std::tuple<int, Watch>> {};
constexpr int kParts = 4;

TEST_P(GpuFailingCalls, Training) {
  const Training training;
  std::vector<std::string> want;
  {
    fake_cuda::reset();
    want = snapshots(training, cached_device(), kSteps);
    ASSERT_NE(want[0], want[1]);
    ASSERT_NE(want[1], want[2]);
    const Plan plan = make_plan(training.function(), {}, *cached_device());
    ASSERT_GE(state_writes(plan), 2) << "nothing to tear apart:\n" << to_text(plan);
  }
  const auto& [part, watch] = GetParam();
  fail_every_call(part, kParts, [&] { train_through_an_error(training, want, watch); });
}

INSTANTIATE_TEST_SUITE_P(Parts, GpuFailingCalls,
                         ::testing::Combine(::testing::Range(0, kParts),
                                            ::testing::Values(Watch{},
                                                              Watch{"Profile", true, false},
                                                              Watch{"CheckFinite", false, true})),
                         [](const auto& info) {
                           return std::get<1>(info.param).name +
                                  std::to_string(std::get<0>(info.param));
                         });

// Without the cache, so that kernels are compiled: one small function.
TEST(GpuFaults, Compilation) {
  Module module("small");
  Function& f = module.function("f");
  const Value x = f.argument("x", {DType::f32, {5}});
  f.result("y", x * x + 1.0);
  const Tensors feeds = {{"x", Tensor::of<float>({5}, {1, 2, 3, 4, 5})}};
  fake_cuda::reset();
  int64_t first = 0;
  {
    const std::shared_ptr<Device> device = cuda::device({.kernel_cache = ""});
    first = fake_cuda::call_count();
  }
  fail_every_call(first, 1, [&] {
    const std::shared_ptr<Device> device = cuda::device({.kernel_cache = ""});
    State state(module, device);
    Executable executable(f, device);
    auto run = [&] {
      const Tensor y = Tensor::uninitialized({DType::f32, {5}});
      executable.run(state, feeds, {.into = {{"y", y}}});
      EXPECT_EQ(y.values<float>()[2], 10);
    };
    try {
      run();
    } catch (const DeviceError&) {
      run();
    }
  });
}

// The error of making a device, and what `unavailable` says, which must be the same.
std::string refusal(const fake_cuda::Settings& settings, int index = 0) {
  GpuUnderTest gpu(settings);
  try {
    gpu.device({.index = index});
  } catch (const DeviceError& error) {
    EXPECT_EQ(cuda::unavailable(index), error.what());
    return error.what();
  }
  EXPECT_EQ(cuda::unavailable(index), "");
  return "none";
}

TEST(GpuFaults, DevicesThatCannotBeUsed) {
  EXPECT_EQ(refusal({}), "none");
  EXPECT_EQ(refusal({.devices = 2}, 1), "none");
  EXPECT_EQ(refusal({.architecture = 80}), "none");
  EXPECT_THAT(refusal({.driver_version = 0}), HasSubstr("no NVIDIA driver was found"));
  EXPECT_THAT(refusal({.driver_version = 12040}), AllOf(HasSubstr("12.4"), HasSubstr("13.0")));
  EXPECT_THAT(refusal({.devices = 0}), HasSubstr("none was found"));
  EXPECT_THAT(refusal({.devices = 2}, 2), AllOf(HasSubstr("GPU 2"), HasSubstr("2 found")));
  EXPECT_THAT(refusal({}, -1), AllOf(HasSubstr("GPU -1"), HasSubstr("1 found")));
  EXPECT_THAT(refusal({.architecture = 75}),
              AllOf(HasSubstr("CUDA test double"), HasSubstr("7.5"), HasSubstr("8.0")));
}

// A batch whose arena does not fit: the needed, the free and all bytes, and what takes them. A
// smaller one works afterwards.
TEST(GpuFaults, TooLittleMemory) {
  constexpr size_t kBytes = size_t{1} << 20;
  Module module("large");
  Function& f = module.function("f");
  const Value x = f.argument("x", {DType::f32, {Dim::symbol("b"), 8}});
  const Value weights = f.argument("w", {DType::f32, {8, 4096}});
  const int line = __LINE__ + 1;
  f.result("y", sum(matmul(x, weights)));
  GpuUnderTest gpu({.memory_bytes = kBytes});
  const std::shared_ptr<Device> device = gpu.device();
  State state(module, device);
  Executable executable(f, device);
  const size_t needed = make_plan(f, {{"b", 512}}, *device).arena_bytes();
  ASSERT_GT(needed, kBytes);
  try {
    executable.prepare({{"b", 512}});
    ADD_FAILURE() << "an arena of " << needed << " bytes on a device of " << kBytes;
  } catch (const OutOfMemory& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("the arena of 'f', b=512: the GPU has no room for " +
                                              std::to_string(needed) + " bytes: "),
                                    HasSubstr(" of " + std::to_string(kBytes) + " are free"),
                                    HasSubstr(std::to_string(512 * 4096 * 4) +
                                              " bytes  f32[512,4096] of matmul, built at "),
                                    HasSubstr("gpu_faults_test.cc:" + std::to_string(line))));
  }
  const Tensor y = Tensor::uninitialized({DType::f32, {}});
  const Tensors feeds = {{"x", numbers({DType::f32, {1, 8}})},
                         {"w", Tensor::zeros({DType::f32, {8, 4096}})}};
  executable.run(state, feeds, {.into = {{"y", y}}});
  EXPECT_EQ(y.item<float>(), 0);
}

// The tensor for which there is no room, by name and type.
TEST(GpuFaults, TooLittleMemoryForATensor) {
  constexpr int64_t kLarge = 1 << 18;  // floats: as much as there is
  auto expect_error = [](const std::string& what, const std::function<void()>& body) {
    try {
      body();
      ADD_FAILURE() << "no error for " << what;
    } catch (const OutOfMemory& error) {
      EXPECT_THAT(error.what(), ::testing::StartsWith(what + ", f32[262144]: the GPU has no room"));
    }
  };
  GpuUnderTest gpu({.memory_bytes = kLarge * 4});
  const std::shared_ptr<Device> device = gpu.device();
  Module large("large");
  large.variable("w", {DType::f32, {kLarge}});
  expect_error("variable 'w'", [&] { State state(large, device); });

  Module module("data");
  module.resource("rows", {DType::f32, {Dim::symbol("n")}});
  Function& f = module.function("f");
  f.result("y", f.argument("x", {DType::f32, {Dim::symbol("n")}}) + 1.0);
  State state(module, device);
  const Tensor values = Tensor::zeros({DType::f32, {kLarge}});
  expect_error("resource 'rows'", [&] { state.bind("rows", values); });
  Executable executable(f, device);
  expect_error("argument 'x'", [&] { executable.run(state, {{"x", values}}); });
  state.bind("rows", Tensor::of<float>({2}, {1, 2}));  // nothing was kept
  EXPECT_EQ(state.symbols().at("n"), 2);
}

#endif

// Bad values in a feed, at the first step (eager) or once the step is captured.
struct BadData {
  const char* name;
  bool in_index;  // or in the labels
  int64_t value;
  int steps_before;
};
void PrintTo(const BadData& bad, std::ostream* out) { *out << bad.name; }

class GpuBadData : public ::testing::TestWithParam<BadData> {
 protected:
  static constexpr int kStepsBehind = 3;

  // A tensor of the device with a value out of range.
  Tensor bad_values(Session& session) const {
    std::vector<int64_t> values = GetParam().in_index ? kIndex : kLabels;
    values[2] = GetParam().value;
    const Tensor there = device_->allocate({DType::i64, {kBatch}});
    session.device->copy(Tensor::of<int64_t>({kBatch}, values), there);
    return there;
  }
  void expect_report(const std::function<void()>& read) const {
    const std::string op = GetParam().in_index ? "gather" : "softmax_cross_entropy";
    const int line = GetParam().in_index ? training_.gather_line : training_.loss_line;
    try {
      read();
      ADD_FAILURE() << "no error";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr(op), HasSubstr(std::to_string(GetParam().value)),
                                      HasSubstr("gpu_faults_test.cc:" + std::to_string(line))));
    }
  }

  GpuUnderTest gpu_;
  std::shared_ptr<Device> device_ = gpu_.device({.kernel_cache = kernel_cache()});
  Training training_;
};

TEST_P(GpuBadData, LeavesTheState) {
  const int before = GetParam().steps_before;
  const std::vector<std::string> want = snapshots(training_, device_, before + 1);
  Session session(training_, device_);
  for (int i = 0; i < before; ++i) session.run();
  Tensor& feed = GetParam().in_index ? session.index : session.labels;
  const Tensor bad = bad_values(session), good = device_->allocate(feed.type());
  device_->copy(feed, good);

  device_->copy(bad, feed);  // on the device: nothing waits
  session.run();
  device_->copy(good, feed);
  for (int i = 0; i < kStepsBehind; ++i) session.run();
  expect_report([&] { session.read_loss(); });
  EXPECT_TRUE(bytes_of(session.state) == want[before]) << "the bad step wrote";

  session.run();
  session.read_loss();
  EXPECT_TRUE(bytes_of(session.state) == want[before + 1]) << "the next step is not as usual";
}

INSTANTIATE_TEST_SUITE_P(Values, GpuBadData,
                         ::testing::Values(BadData{"index_first", true, kRows, 0},
                                           BadData{"index_captured", true, -1, 3},
                                           BadData{"label_first", false, -5, 0},
                                           BadData{"label_captured", false, kClasses, 3}),
                         [](const auto& info) { return std::string(info.param.name); });

// More steps than may be on their way at once.
TEST(GpuFaults, ManyStepsWithoutReading) {
  constexpr int kMany = 75;
  GpuUnderTest gpu;
  const std::shared_ptr<Device> device = gpu.device({.kernel_cache = kernel_cache()});
  const Training training;
  const std::vector<std::string> want = snapshots(training, device, kMany);
  Session session(training, device);
  [[maybe_unused]] const int64_t before = gpu_launches();
  for (int i = 0; i < kMany; ++i) session.run();
#ifdef ADJOINT_FAKE_CUDA
  // The double runs work when something waits for it: that is for all steps but the last 32.
  EXPECT_GE(gpu_launches() - before, (kMany - 32) * launches_with_work(session.step.prepare()));
#endif
  EXPECT_TRUE(bytes_of(session.state) == want[kMany]);
  EXPECT_EQ(session.state.get("steps").item<int64_t>(), kMany);
}

}  // namespace
}  // namespace adjoint::testing
