// The program's subcommands. Each returns the exit code; what goes wrong they throw.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace adjoint::mnist {

struct Settings {
  std::string model = "cnn";
  std::filesystem::path data;
  int64_t epochs = 20;
  int64_t batch = 128;
  double learning_rate = 0.5;
  int64_t seed = 1;
  std::string device = "auto";  // or cpu, cuda, cuda:N
  int threads = 0;              // 0: all cores
  std::string precision;        // empty: f32, or that of the checkpoint
  bool fast = false;
  bool no_autotune = false;
  bool overlap = false;
  std::filesystem::path dump_kernels;
  int64_t limit = 0;        // 0: all images
  double device_data = -1;  // MB of images on the device; negative: as its memory allows
  std::filesystem::path checkpoint;
  bool resume = false;
  std::filesystem::path report;
  bool profile = false;

  // predict
  std::filesystem::path image;
  int64_t index = -1;

  // dump
  std::string what = "gradient";
  std::string format = "text";
  bool structural = false;
  std::filesystem::path out;
};

int run_train(const Settings& settings);
int run_eval(const Settings& settings);
int run_predict(const Settings& settings);
int run_summary(const Settings& settings);
int run_dump(const Settings& settings);

}  // namespace adjoint::mnist
