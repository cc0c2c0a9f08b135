// How long the first training step of the reference network takes in a fresh process, which has to
// open its device, build, differentiate, optimise, plan and prepare before it. The data is made up:
// loading the real one is not counted.
//
//   bazel run -c opt //benchmarks:first_step            # medians of 9 processes
//   first_step 21                                       # of 21
//   first_step 21 cuda                                  # on a GPU, with the user's cache
//
// Milliseconds since the process began (which Linux tells in steps of 10 ms), and of each stage.
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "examples/mnist/model.h"
#include "examples/mnist/trainer.h"
#include "runtime/cpu/device.h"
#include "runtime/cuda/device.h"

namespace adjoint::mnist {
namespace {

constexpr const char* kStages[] = {"before main", "open the device", "build, differentiate",
                                   "optimise",    "plan, prepare",   "initialise",
                                   "first step",  "built to step",   "process to step"};
constexpr size_t kStageCount = std::size(kStages);
using Times = std::array<double, kStageCount>;

// Milliseconds from the start of this process to now.
double process_age() {
  std::ifstream file("/proc/self/stat");
  std::string word;
  // The name, the second word, has no spaces here; the start is the 22nd.
  for (int i = 0; i < 22; ++i) file >> word;
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  const double ticks = std::stod(word);
  return 1e3 * static_cast<double>(now.tv_sec) + 1e-6 * static_cast<double>(now.tv_nsec) -
         1e3 * ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

Digits made_up_digits(int64_t count) {
  Digits digits{.count = count, .rows = 28, .columns = 28};
  digits.images.resize(count * 28 * 28);
  digits.labels.resize(count);
  for (size_t i = 0; i < digits.images.size(); ++i) digits.images[i] = i * 7919 % 256;
  for (size_t i = 0; i < digits.labels.size(); ++i) digits.labels[i] = i % kClasses;
  return digits;
}

std::shared_ptr<Device> open_device(const std::string& name) {
  return name == "cuda" ? cuda::device() : cpu::device(2);
}

Times measure_once(const std::string& device) {
  using Clock = std::chrono::steady_clock;
  Times times{};
  times[0] = process_age();
  Clock::time_point last = Clock::now();
  auto lap = [&] {
    const Clock::time_point now = Clock::now();
    const std::chrono::duration<double, std::milli> spent = now - last;
    last = now;
    return spent.count();
  };
  const Digits train = made_up_digits(60000), test = made_up_digits(10000);
  lap();
  const std::shared_ptr<Device> opened = open_device(device);
  times[1] = lap();
  const MnistModel model({.network = "cnn"});
  times[2] = lap();
  Trainer trainer(model, opened);
  times[3] = lap();
  trainer.bind_training(train);
  trainer.bind_test(test);
  lap();  // the data's
  trainer.prepare();
  times[4] = lap();
  trainer.initialize(1);
  times[5] = lap();
  trainer.run_epoch([](int64_t) { return false; });
  times[6] = lap();
  times[7] = times[3] + times[4] + times[5] + times[6];
  times[8] = times[0] + times[1] + times[2] + times[7];
  return times;
}

// What another process like this one measures.
Times measure_in_process(const std::string& program, const std::string& device) {
  FILE* pipe = popen(("'" + program + "' once " + device).c_str(), "r");
  Times times{};
  for (double& time : times) {
    if (!pipe || std::fscanf(pipe, "%lf", &time) != 1) {
      std::fprintf(stderr, "first_step: the measured process failed\n");
      std::exit(1);
    }
  }
  pclose(pipe);
  return times;
}

void measure(const std::string& program, int runs, const std::string& device) {
  std::vector<Times> all;
  for (int run = 0; run < runs; ++run) all.push_back(measure_in_process(program, device));
  std::printf("milliseconds, of %d processes  least  median  most\n", runs);
  for (size_t stage = 0; stage < kStageCount; ++stage) {
    std::vector<double> times;
    for (const Times& run : all) times.push_back(run[stage]);
    std::sort(times.begin(), times.end());
    std::printf("%-28s  %6.1f  %6.1f  %5.1f\n", kStages[stage], times.front(),
                times[times.size() / 2], times.back());
  }
}

}  // namespace
}  // namespace adjoint::mnist

int main(int argc, char** argv) {
  using namespace adjoint::mnist;  // NOLINT
  const std::string device = argc > 2 ? argv[2] : "cpu";
  if (argc > 1 && std::strcmp(argv[1], "once") == 0) {
    for (double time : measure_once(device)) std::printf("%f\n", time);
    return 0;
  }
  measure(argv[0], argc > 1 ? std::max(std::atoi(argv[1]), 1) : 9, device);
}
