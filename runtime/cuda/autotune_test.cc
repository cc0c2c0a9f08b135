// The choice among kernels and algorithms of convolutions by measuring, on the test double, whose
// calls take what its settings say.
#include "runtime/cuda/autotune.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include "graph/error.h"
#include "graph/passes.h"
#include "ops/conv.h"
#include "runtime/cuda/api/cublaslt.h"
#include "runtime/cuda/api/cudnn.h"
#include "runtime/planner.h"
#include "tests/fake_cuda/library_support.h"
#include "tests/harness/gpu.h"

namespace adjoint::cuda {
namespace {

using ::testing::Contains;
using testing::GpuUnderTest;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr const char* kForward = "cudnnConvolutionForward#";

// A convolution for which the double offers the algorithms 1, 0 and 2, in that order, and its
// gradient, for which it offers 0, not deterministic, and 1.
class Autotune : public ::testing::Test {
 protected:
  Autotune() : forward_(module_.function("forward")), gradient_(module_.function("gradient")) {
    const Type image{DType::f32, {Dim::symbol("n"), 6, 6, 2}}, filter{DType::f32, {3, 3, 2, 4}};
    const Conv2dAttributes same{.padding = Padding::same};
    forward_.result("y",
                    conv2d(forward_.argument("x", image), forward_.argument("w", filter), same));
    const Type dy{DType::f32, {2, 6, 6, 4}};
    gradient_.result("dx", conv2d_input_grad(gradient_.argument("dy", dy),
                                             gradient_.argument("w", filter), {2, 6, 6, 2}, same));
  }

  // The convolution's kernel; another launch transposes its filter.
  static std::string convolution(const Plan& plan) {
    EXPECT_EQ(plan.launches.size(), 2u);
    for (const Launch& launch : plan.launches) {
      if (launch.provider() == "cudnn") return launch.kernel;
    }
    return "";
  }
  std::string chosen(const Device& device, const PlanOptions& options = {}) const {
    return convolution(make_plan(forward_, {{"n", 2}}, device, options));
  }
  static std::string chosen_for(const Function& function, const Device& device) {
    return convolution(make_plan(function, {}, device));
  }
  // Settings in which each algorithm takes so many seconds.
  static fake_cuda::Settings with_seconds(double algorithm0, double algorithm1, double algorithm2) {
    const std::string name = kForward;
    return {
        .seconds = {{name + "0", algorithm0}, {name + "1", algorithm1}, {name + "2", algorithm2}}};
  }

  Module module_{"autotune"};
  Function& forward_;
  Function& gradient_;
};

TEST_F(Autotune, TakesTheFastest) {
  for (int fastest : {0, 1, 2}) {
    double seconds[] = {2e-3, 2e-3, 2e-3};
    seconds[fastest] = 1e-3;
    GpuUnderTest gpu(with_seconds(seconds[0], seconds[1], seconds[2]));
    EXPECT_EQ(chosen(*gpu.device()), "cudnn.conv2d#" + std::to_string(fastest));
  }
}

TEST_F(Autotune, OfEqualsTheBestGuess) {
  GpuUnderTest gpu(with_seconds(1e-3, 1e-3, 1e-3));
  EXPECT_EQ(chosen(*gpu.device()), "cudnn.conv2d#1");
}

TEST_F(Autotune, MeasuresEachShapeOnce) {
  GpuUnderTest gpu(with_seconds(1e-3, 2e-3, 2e-3));
  const std::shared_ptr<Device> device = gpu.device();
  chosen(*device);
  const auto measured = fake_cuda::launches();
  EXPECT_GT(measured.at(std::string(kForward) + "1"), 1);
  EXPECT_EQ(chosen(*device), "cudnn.conv2d#0");
  EXPECT_EQ(fake_cuda::launches(), measured);
  make_plan(forward_, {{"n", 3}}, *device);  // another shape
  EXPECT_GT(fake_cuda::launches().at(std::string(kForward) + "1"),
            measured.at(std::string(kForward) + "1"));
}

TEST_F(Autotune, RecordedChoicesAreNotMeasured) {
  KernelChoices recorded;
  {
    GpuUnderTest gpu(with_seconds(2e-3, 2e-3, 1e-3));
    recorded = kernel_choices(make_plan(forward_, {{"n", 2}}, *gpu.device()));
    ASSERT_THAT(recorded, Contains(Pair(::testing::_, "cudnn.conv2d#2")));
  }
  GpuUnderTest gpu(with_seconds(1e-3, 2e-3, 2e-3));
  EXPECT_EQ(chosen(*gpu.device(), {.kernels = recorded}), "cudnn.conv2d#2");
  EXPECT_THAT(fake_cuda::launches(), IsEmpty());
}

TEST_F(Autotune, KeepsAnswersBetweenRuns) {
  const std::filesystem::path folder = ::testing::TempDir() + "answers";
  std::filesystem::remove_all(folder);
  auto choose = [&](const fake_cuda::Settings& settings, bool tf32 = false) {
    GpuUnderTest gpu(settings);
    return chosen(*gpu.device({.tf32 = tf32, .kernel_cache = folder}));
  };
  const fake_cuda::Settings fastest0 = with_seconds(1e-3, 2e-3, 2e-3);
  const fake_cuda::Settings fastest2 = with_seconds(2e-3, 2e-3, 1e-3);
  EXPECT_EQ(choose(fastest0), "cudnn.conv2d#0");
  EXPECT_EQ(choose(fastest2), "cudnn.conv2d#0");
  EXPECT_THAT(fake_cuda::launches(), IsEmpty());
  EXPECT_EQ(choose(fastest2, true), "cudnn.conv2d#2");  // another question

  // What is no answer, or names an algorithm that is not offered.
  std::ifstream file(folder / "choices");
  std::string line;
  std::getline(file, line);
  ASSERT_EQ(line.back(), '0');
  line.back() = '7';
  std::ofstream(folder / "choices") << "nonsense\n" << line << "\n";
  EXPECT_EQ(choose(fastest2), "cudnn.conv2d#2");
  EXPECT_EQ(choose(fastest0), "cudnn.conv2d#2");
}

TEST_F(Autotune, WithoutItNothingIsMeasured) {
  GpuUnderTest gpu(with_seconds(1e-3, 2e-3, 2e-3));
  EXPECT_EQ(chosen(*gpu.device({.autotune = false})), "cudnn.conv2d#1");
  EXPECT_THAT(fake_cuda::launches(), IsEmpty());
}

// Our own kernel and cuDNN's algorithms, which the double offers in the order 1, 0, 2.
class Competition : public Autotune {
 protected:
  Competition() : quads_(module_.function("quads")) {
    quads_.result("y", conv2d(quads_.argument("x", {DType::f32, {2, 6, 6, 8}}),
                              quads_.argument("w", {DType::f32, {3, 3, 8, 8}})));
  }
  std::string chosen(const Device& device, const PlanOptions& options = {}) const {
    for (const Launch& launch : make_plan(quads_, {}, device, options).launches) {
      if (launch.kernel.find(".conv2d") != std::string::npos) return launch.kernel;
    }
    return "";
  }
  static fake_cuda::Settings with_seconds(double ours, double algorithm1, double algorithm2) {
    fake_cuda::Settings settings = Autotune::with_seconds(3e-3, algorithm1, algorithm2);
    settings.seconds["conv_gemm"] = ours;
    return settings;
  }

  Function& quads_;
};

constexpr const char* kOurs = "adjoint.conv2d_gemm#64x48";
constexpr const char* kRounding = "adjoint.conv2d_gemm#tf32";

TEST_F(Competition, TheFastestOfAllKernelsWins) {
  for (const auto& [ours, algorithm2, want] :
       {std::tuple(1e-3, 2e-3, kOurs), std::tuple(2e-3, 1e-3, "cudnn.conv2d#2"),
        std::tuple(2e-3, 2e-3, kOurs)}) {
    GpuUnderTest gpu(with_seconds(ours, 2e-3, algorithm2));
    EXPECT_EQ(chosen(*gpu.device()), want) << ours << " " << algorithm2;
  }
}

TEST_F(Competition, TheFirstOneWhereNothingIsMeasured) {
  GpuUnderTest gpu(with_seconds(2e-3, 2e-3, 1e-3));
  EXPECT_EQ(chosen(*gpu.device({.autotune = false})), kOurs);
  EXPECT_EQ(chosen(*gpu.device({.autotune = false, .tf32 = true})), kRounding);
  EXPECT_THAT(fake_cuda::launches(), IsEmpty());
}

TEST_F(Competition, WithTf32BothOfOursTakePart) {
  fake_cuda::Settings settings = with_seconds(1e-3, 2e-3, 2e-3);
  for (const auto& [seconds, want] : {std::pair(2e-3, kOurs), std::pair(5e-4, kRounding)}) {
    settings.seconds["conv_gemm_tf32"] = seconds;
    GpuUnderTest gpu(settings);
    EXPECT_EQ(chosen(*gpu.device({.tf32 = true})), want);
  }
}

TEST_F(Competition, AnswersNameTheKernel) {
  const std::filesystem::path folder = ::testing::TempDir() + "competition";
  std::filesystem::remove_all(folder);
  auto choose = [&](const fake_cuda::Settings& settings) {
    GpuUnderTest gpu(settings);
    return chosen(*gpu.device({.kernel_cache = folder}));
  };
  EXPECT_EQ(choose(with_seconds(1e-3, 2e-3, 2e-3)), kOurs);
  EXPECT_EQ(choose(with_seconds(2e-3, 1e-3, 2e-3)), kOurs);
  EXPECT_THAT(fake_cuda::launches(), IsEmpty());

  std::ifstream file(folder / "choices");
  std::string line;
  std::getline(file, line);
  const size_t tab = line.rfind('\t');
  ASSERT_EQ(line.substr(tab + 1), kOurs);
  // A variant alone is no answer, nor is one among fewer kernels or variants of ours.
  std::ofstream(folder / "choices") << line.substr(0, tab + 1) << "64x48\n";
  EXPECT_EQ(choose(with_seconds(2e-3, 1e-3, 2e-3)), "cudnn.conv2d#1");
  for (const std::string gone : {" cudnn.conv2d", " adjoint.conv2d_gemm#64x48"}) {
    std::string other = line;
    ASSERT_NE(other.find(gone), std::string::npos);
    std::ofstream(folder / "choices") << other.erase(other.find(gone), gone.size()) << "\n";
    EXPECT_EQ(choose(with_seconds(2e-3, 1e-3, 2e-3)), "cudnn.conv2d#1");
  }
}

// Where the answer is a kernel of ours, cuDNN is not asked what it offers, nor created.
TEST_F(Competition, AnAnswerOfOursLoadsNoLibrary) {
  const std::filesystem::path folder = ::testing::TempDir() + "no_library";
  std::filesystem::remove_all(folder);
  for (const std::string want : {kOurs, "cudnn.conv2d#1"}) {
    std::filesystem::remove_all(folder);
    for (const bool is_known : {false, true}) {
      GpuUnderTest gpu(want == kOurs ? with_seconds(1e-3, 2e-3, 2e-3)
                                     : with_seconds(2e-3, 1e-3, 2e-3));
      const std::shared_ptr<Device> device = gpu.device({.kernel_cache = folder});
      const int64_t before = fake_cuda::live_library_objects();  // cuBLASLt's handle
      EXPECT_EQ(chosen(*device), want);
      const bool is_asked = !is_known || want != kOurs;
      EXPECT_EQ(fake_cuda::live_library_objects() - before, is_asked ? 1 : 0) << want << is_known;
    }
  }
}

TEST_F(Competition, RecordedChoicesAreNotMeasured) {
  for (const std::string want : {kOurs, "cudnn.conv2d#2"}) {
    KernelChoices recorded;
    {
      GpuUnderTest gpu(want == kOurs ? with_seconds(1e-3, 2e-3, 2e-3)
                                     : with_seconds(2e-3, 2e-3, 1e-3));
      recorded = kernel_choices(make_plan(quads_, {}, *gpu.device()));
    }
    GpuUnderTest gpu(with_seconds(2e-3, 1e-3, 2e-3));
    EXPECT_EQ(chosen(*gpu.device(), {.kernels = recorded}), want);
    EXPECT_THAT(fake_cuda::launches(), IsEmpty());
  }
}

TEST_F(Autotune, OnlyDeterministicOnesUnlessAskedFor) {
  const fake_cuda::Settings settings{.seconds = {{"cudnnConvolutionBackwardData#0", 1e-3},
                                                 {"cudnnConvolutionBackwardData#1", 2e-3}}};
  GpuUnderTest gpu(settings);
  EXPECT_EQ(chosen_for(gradient_, *gpu.device()), "cudnn.conv2d_input_grad#1");
  EXPECT_EQ(chosen_for(gradient_, *gpu.device({.deterministic = false})),
            "cudnn.conv2d_input_grad#0");
}

// Algorithm 2, the fastest, wants a large workspace: first there is room for it, then only for the
// others, then not even for the operands.
TEST_F(Autotune, PassesOverWhatDoesNotFit) {
  const std::pair<size_t, std::string> cases[] = {{32 << 10, "2"}, {8 << 10, "0"}, {1 << 10, "1"}};
  for (const auto& [bytes, want] : cases) {
    fake_cuda::Settings settings = with_seconds(2e-3, 3e-3, 1e-3);
    settings.memory_bytes = bytes;
    GpuUnderTest gpu(settings);
    EXPECT_EQ(chosen(*gpu.device()), "cudnn.conv2d#" + want) << bytes;
  }
}

// The first error is told where every variant fails, and nothing is remembered.
TEST_F(Autotune, AllFail) {
  GpuUnderTest gpu;
  CublasLt cublaslt;
  Cudnn cudnn;
  Context context{device_properties(0), {}, cublaslt, cudnn};
  Queue queue;
  Autotuner autotuner;
  static int calls;
  calls = 0;
  const KernelDef def{.name = "test.conv2d",
                      .op = "conv2d",
                      .prepare = [](const KernelRequest& request, Context&) -> PreparedKernel {
                        ++calls;
                        throw DeviceError("no " + std::string(request.variant));
                      },
                      .variants = [](const KernelRequest&, Context&) -> std::vector<std::string> {
                        return {"a", "b"};
                      }};
  const std::unique_ptr<Function> concrete = specialise(forward_, {{"n", 2}});
  const KernelRequest request = make_request(*concrete, concrete->results()[0].value.node);
  for (int i : {1, 2}) {
    try {
      autotuner.fastest(request, {&def}, context, queue);
      ADD_FAILURE() << "no error";
    } catch (const DeviceError& error) {
      EXPECT_STREQ(error.what(), "no a");
    }
    EXPECT_EQ(calls, 2 * i);
  }
}

// Whichever call fails, a plan is made or the error is typed; memory is given back.
TEST_F(Autotune, FailingCalls) {
  bool other = false;  // whether the fastest was passed over once
  for (int64_t n = 0;; ++n) {
    SCOPED_TRACE("with call " + std::to_string(n) + " failing");
    fake_cuda::Settings settings = with_seconds(1e-3, 2e-3, 3e-3);
    settings.failing_call = n;
    GpuUnderTest gpu(settings);
    try {
      const std::string kernel = chosen(*gpu.device());
      other |= kernel == "cudnn.conv2d#1";
    } catch (const DeviceError& error) {
      EXPECT_STRNE(error.what(), "");
    }
    const bool done = fake_cuda::call_count() <= n;
    fake_cuda::reset();
    EXPECT_THAT(fake_cuda::findings(), IsEmpty());
    if (done) break;
  }
  EXPECT_TRUE(other);
}

}  // namespace
}  // namespace adjoint::cuda
