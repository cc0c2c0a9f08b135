#include "examples/mnist/setup.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <thread>

#include "graph/error.h"
#include "runtime/cpu/device.h"
#include "runtime/cuda/device.h"

namespace adjoint::mnist {

namespace {

// "cuda:1" is 1, "cuda" is 0; negative for names of other devices.
int gpu_index(const std::string& text) {
  int index = -1, end = 0;
  if (text == "cuda") return 0;
  const bool numbered = std::sscanf(text.c_str(), "cuda:%3d%n", &index, &end) == 1;
  return numbered && static_cast<size_t>(end) == text.size() ? index : -1;
}

ChosenDevice open_gpu(const Settings& settings, int index, Precision precision) {
  ChosenDevice chosen{.precision = precision};
  chosen.device = cuda::device({.index = index,
                                .deterministic = !settings.fast,
                                .autotune = !settings.no_autotune,
                                .tf32 = precision == Precision::tf32,
                                .overlap = settings.overlap,
                                .dump_kernels = settings.dump_kernels});
  chosen.note = chosen.device->name() + ", " + std::string(name(precision)) +
                (settings.fast ? ", fast: bits may differ from run to run" : "");
  return chosen;
}

ChosenDevice open_cpu(const Settings& settings, Precision precision, const std::string& why) {
  if (precision == Precision::tf32) {
    throw DeviceError("the CPU does not round to tf32" + (why.empty() ? "" : " (" + why + ")") +
                      "; --precision f32 and bf16 run there");
  }
  if (settings.fast || settings.no_autotune || settings.overlap || !settings.dump_kernels.empty()) {
    std::fprintf(stderr,
                 "mnist: --fast, --no-autotune, --overlap and --dump-kernels are for GPUs; the CPU "
                 "does without\n");
  }
  ChosenDevice chosen{.precision = precision};
  const unsigned cores = std::thread::hardware_concurrency();
  chosen.threads = settings.threads > 0 ? settings.threads : static_cast<int>(cores ? cores : 1);
  chosen.device = cpu::device(chosen.threads);
  chosen.note = "cpu, " + std::to_string(chosen.threads) +
                (chosen.threads == 1 ? " thread, " : " threads, ") + std::string(name(precision)) +
                (why.empty() ? "" : " (auto: " + why + ")");
  return chosen;
}

}  // namespace

bool is_device_name(const std::string& text) {
  return text == "auto" || text == "cpu" || gpu_index(text) >= 0;
}

ChosenDevice choose_device(const Settings& settings, Precision precision) {
  if (!settings.precision.empty()) precision = precision_of(settings.precision).value();
  if (settings.device == "cpu") return open_cpu(settings, precision, "");
  const int index = std::max(gpu_index(settings.device), 0);
  const std::string why = cuda::unavailable(index);
  if (why.empty()) return open_gpu(settings, index, precision);
  if (settings.device == "auto") return open_cpu(settings, precision, why);
  throw DeviceError(why + "; --device cpu runs on the processor");
}

std::optional<size_t> max_resident_bytes(const Settings& settings) {
  if (settings.device_data < 0) return {};
  // Beyond the largest number it would be undefined.
  return static_cast<size_t>(std::min(settings.device_data * 1e6, 1e18));
}

std::string data_place(const Trainer& trainer) {
  const bool training = trainer.training_data() == DataPlace::streamed;
  const bool test = trainer.test_data() == DataPlace::streamed;
  if (training == test) return training ? "streamed" : "resident";
  return training ? "training images streamed" : "test images streamed";
}

DataSource locate_data(const Settings& settings) {
  return find_data({.folder = settings.data, .notice = [](const std::string& line) {
                      std::fprintf(stderr, "mnist: %s\n", line.c_str());
                    }});
}

}  // namespace adjoint::mnist
