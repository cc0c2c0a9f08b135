// Time per launch, summed per kernel.
//
//   Profiler profiler;
//   train.run(state, feeds, {.profiler = &profiler});
//   std::cout << profiler.to_text();       // the slowest kernels first
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "runtime/plan.h"

namespace adjoint {

class Profiler {
 public:
  struct Entry {
    int64_t calls = 0;
    double seconds = 0;
    double flops = 0;
    double bytes = 0;
  };

  void add(const Launch& launch, double seconds);
  const std::map<std::string, Entry, std::less<>>& entries() const { return entries_; }
  double seconds() const;
  // Kernel, calls, milliseconds, share, GFLOP/s, GB/s.
  std::string to_text() const;

 private:
  std::map<std::string, Entry, std::less<>> entries_;  // by kernel
};

}  // namespace adjoint
