// The live progress line of a long run: one line that is redrawn on a terminal, a plain line now
// and then where the output goes elsewhere.
//
//   Progress progress(stdout, "epoch 1/20", 60000);
//   progress.update(1280, 0.31);   // epoch 1/20  1280/60000  6203 images/s  loss 0.3100  9 s left
//   progress.finish();
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace adjoint::mnist {

class Progress {
 public:
  Progress(std::FILE* out, std::string label, int64_t total, int64_t done = 0);
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Whether it is time to draw again (so that the caller fetches the loss only then).
  bool due() const;
  void update(int64_t done, double loss);
  // Clears the live line; also at destruction.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  std::FILE* out_;
  std::string label_;
  int64_t total_;
  int64_t first_;  // images done before this run
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point begin_;
  Clock::time_point last_;
};

}  // namespace adjoint::mnist
