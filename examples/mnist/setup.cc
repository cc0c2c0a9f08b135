#include "examples/mnist/setup.h"

#include <cstdio>
#include <string>
#include <thread>

#include "graph/error.h"
#include "runtime/cpu/device.h"

namespace adjoint::mnist {

ChosenDevice choose_device(const Settings& settings) {
  if (settings.device == "cuda") {
    throw DeviceError("this build has no GPU runtime; --device cpu runs on the processor");
  }
  ChosenDevice chosen;
  const unsigned cores = std::thread::hardware_concurrency();
  chosen.threads = settings.threads > 0 ? settings.threads : static_cast<int>(cores ? cores : 1);
  chosen.device = cpu::device(chosen.threads);
  chosen.note = "cpu, " + std::to_string(chosen.threads) +
                (chosen.threads == 1 ? " thread" : " threads") +
                (settings.device == "auto" ? " (auto: this build has no GPU runtime)" : "");
  return chosen;
}

DataSource locate_data(const Settings& settings) {
  return find_data({.folder = settings.data, .notice = [](const std::string& line) {
                      std::fprintf(stderr, "mnist: %s\n", line.c_str());
                    }});
}

}  // namespace adjoint::mnist
