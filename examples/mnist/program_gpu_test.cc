// The MNIST program with --device cuda, on CUDA's test double: from outside, and its commands with
// a double whose algorithms take what the test says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "examples/mnist/commands.h"
#include "examples/mnist/program_tester.h"
#include "graph/error.h"
#include "tests/fake_cuda/fake_cuda.h"

namespace adjoint::mnist {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ProgramOnGpu : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    // Kernels that one test has compiled serve the others.
    setenv("XDG_CACHE_HOME", (testing::TempDir() + "cache").c_str(), 1);
    write_digits("data", 40, 20);
  }

  static Ended run_on_gpu(Arguments arguments) {
    if (std::ranges::find(arguments, "--device") == arguments.end()) {
      arguments.insert(arguments.end(), {"--device", "cuda"});
    }
    return run(arguments, {.program = "examples/mnist/mnist_fake"});
  }
  Ended train(const Arguments& more, const std::string& rate = "0.1") const {
    Arguments all = {"train", "--model", "mlp", "--data",   path("data"), "--batch",
                     "16",    "--lr",    rate,  "--epochs", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return run_on_gpu(all);
  }
};

TEST_F(ProgramOnGpu, DumpsThePlan) {
  const Ended end = run_on_gpu({"dump", "--what", "plan", "--batch", "2", "--no-autotune"});
  EXPECT_EQ(end.code, 0);
  EXPECT_THAT(end.output,
              AllOf(HasSubstr("plan of 'train' for cuda:0, batch=2"), HasSubstr("memory: arena "),
                    HasSubstr("adjoint.conv2d_gemm"), HasSubstr("cudnn.conv2d_input_grad"),
                    HasSubstr("cublaslt.matmul#0"), HasSubstr("examples/mnist/model.cc:")));
}

TEST_F(ProgramOnGpu, TrainsWithAProfileAndTheKernelsSources) {
  const Ended end = train({"--profile", "--dump-kernels", path("kernels")});
  EXPECT_EQ(end.code, 0) << end.output;
  EXPECT_THAT(end.output, AllOf(HasSubstr("device  cuda:0, f32\n"), HasSubstr("epoch 1/1  train"),
                                HasSubstr("GFLOP/s"), HasSubstr("cublaslt.matmul")));
  int sources = 0;
  for (const auto& entry : fs::directory_iterator(path("kernels"))) {
    std::ifstream file(entry.path());
    const std::string text(std::istreambuf_iterator<char>(file), {});
    EXPECT_THAT(text, HasSubstr("__global__"));
    ++sources;
  }
  EXPECT_GT(sources, 0);
}

TEST_F(ProgramOnGpu, TrainsInEveryPrecision) {
  for (const std::string precision : {"tf32", "bf16"}) {
    const Ended end = train({"--precision", precision});
    EXPECT_EQ(end.code, 0) << end.output;
    EXPECT_THAT(end.output, AllOf(HasSubstr("device  cuda:0, " + precision + "\n"),
                                  HasSubstr("epoch 1/1  train")));
  }
  const Ended fast = train({"--fast"});
  EXPECT_EQ(fast.code, 0) << fast.output;
  EXPECT_THAT(fast.output, HasSubstr("device  cuda:0, f32, fast: bits may differ"));
}

TEST_F(ProgramOnGpu, AutoTakesTheGpu) {
  const Ended end = train({"--device", "auto"});
  EXPECT_EQ(end.code, 0) << end.output;
  EXPECT_THAT(end.output, HasSubstr("device  cuda:0, f32"));
}

TEST_F(ProgramOnGpu, AGpuThatIsNotThere) {
  for (const Arguments& arguments :
       {Arguments{"train", "--data", path("data")}, Arguments{"dump", "--what", "plan"}}) {
    Arguments all = arguments;
    all.insert(all.end(), {"--device", "cuda:1"});
    const Ended end = run_on_gpu(all);
    EXPECT_EQ(end.code, 1);
    EXPECT_EQ(end.output,
              "mnist: there is no GPU 1: 1 found, counted from 0; --device cpu runs on the "
              "processor\n");
  }
}

TEST_F(ProgramOnGpu, ABadLossNamesTheNode) {
  const Ended end = train({}, "1e30");
  EXPECT_EQ(end.code, 1);
  EXPECT_THAT(end.output, AllOf(HasSubstr("mnist: the loss is "), HasSubstr("first seen in "),
                                HasSubstr("built at examples/mnist/model.cc:")));
}

TEST_F(ProgramOnGpu, EvaluatesAndPredicts) {
  ASSERT_EQ(train({"--checkpoint", path("model.ck")}).code, 0);
  const Ended eval = run_on_gpu({"eval", "--checkpoint", path("model.ck"), "--data", path("data")});
  EXPECT_EQ(eval.code, 0) << eval.output;
  EXPECT_THAT(eval.output, HasSubstr("20 test images: loss "));
  const Ended predict = run_on_gpu(
      {"predict", "--checkpoint", path("model.ck"), "--data", path("data"), "--index", "3"});
  EXPECT_EQ(predict.code, 0) << predict.output;
  EXPECT_THAT(predict.output, HasSubstr("test image 3, label 1"));
}

// The commands in this process.
class CommandsOnGpu : public ProgramOnGpu {
 protected:
  Settings settings() const {
    return {.data = folder_ / "data",
            .epochs = 1,
            .batch = 4,
            .learning_rate = 0.05,
            .device = "cuda",
            .limit = 4};
  }
  // With a double on which this algorithm is the fastest, and nothing is known from before.
  static void begin_with(const std::string& algorithm) {
    fs::remove(testing::TempDir() + "cache/adjoint/kernels/choices");
    fake_cuda::Settings settings;
    for (const char* ours : {"conv_gemm", "conv_gemm_moments"}) settings.seconds[ours] = 3e-3;
    for (const std::string number : {"0", "1", "2"}) {
      settings.seconds["cudnnConvolutionForward#" + number] = number == algorithm ? 1e-3 : 2e-3;
    }
    fake_cuda::reset(settings);
  }
  static std::string run_quietly(const Settings& settings) {
    testing::internal::CaptureStdout();
    try {
      EXPECT_EQ(run_train(settings), 0);
    } catch (...) {
      testing::internal::GetCapturedStdout();
      throw;
    }
    return testing::internal::GetCapturedStdout();
  }
  // The kernels in the report's last line.
  static nlohmann::json kernels(const fs::path& report) {
    std::ifstream file(report);
    std::string line, last;
    while (std::getline(file, line)) last = line;
    return nlohmann::json::parse(last).at("kernels");
  }
};

TEST_F(CommandsOnGpu, ResumingKeepsTheMeasuredKernels) {
  write_digits("data", 40, 20, 16, 16);  // small: on the double, measuring takes long
  Settings s = settings();
  s.checkpoint = folder_ / "model.ck";
  s.report = folder_ / "first";
  begin_with("2");
  run_quietly(s);
  const nlohmann::json first = kernels(s.report);
  EXPECT_THAT(first.dump(), AllOf(HasSubstr("cudnn.conv2d#2"), HasSubstr("cudnn.conv2d_moments#2"),
                                  Not(HasSubstr("cudnn.conv2d#0"))));

  s.resume = true;
  s.epochs = 2;
  s.report = folder_ / "resumed";
  begin_with("0");
  run_quietly(s);
  EXPECT_EQ(kernels(s.report), first);

  s.resume = false;
  s.epochs = 0;
  s.report = folder_ / "anew";
  begin_with("0");
  run_quietly(s);
  EXPECT_THAT(kernels(s.report).dump(), HasSubstr("cudnn.conv2d#0"));
}

TEST_F(CommandsOnGpu, TooLittleMemoryNamesWhatTakesIt) {
  fake_cuda::Settings small;
  small.memory_bytes = size_t{2} << 20;
  fake_cuda::reset(small);
  Settings s = settings();
  s.batch = 40;
  s.limit = 0;
  s.no_autotune = true;
  try {
    run_quietly(s);
    ADD_FAILURE() << "no error";
  } catch (const OutOfMemory& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("the arena of 'train', batch=40, "),
                                    HasSubstr(" of 2097152 are free\n  the largest in use at"),
                                    HasSubstr("examples/mnist/model.cc:")));
  }
}

}  // namespace
}  // namespace adjoint::mnist
