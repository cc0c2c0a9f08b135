// Chooses among the variants of a kernel by running each on scratch memory.
//
//   Autotuner autotuner(default_cache_folder() / "choices", "NVIDIA H100");
//   KernelRequest request = ...;                                   // a convolution
//   autotuner.fastest(*def, request, {"1", "6"}, context, queue);  // "6", measured once per shape
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "runtime/cuda/kernel.h"
#include "runtime/cuda/queue.h"

namespace adjoint::cuda {

// One user at a time, who has the queue's turn.
class Autotuner {
 public:
  // `file` keeps the answers between runs, which then compute the same bits; empty: nowhere. A file
  // that cannot be read or written costs time only. `about`: what they depend on besides the
  // request, in a line.
  explicit Autotuner(std::filesystem::path file = {}, std::string about = {});

  // The variant with the smallest median time, of equals the first. The answer is kept, so that
  // each request is measured once. A variant that fails, or for which there is no room, is passed
  // over; where there is no room to measure any, the first one is returned, and not kept. Throws
  // the first variant's DeviceError where all of them fail.
  std::string fastest(const KernelDef& def, const KernelRequest& request,
                      const std::vector<std::string>& variants, Context& context, Queue& queue);

 private:
  void append(const std::string& key, const std::string& variant) const;

  std::filesystem::path file_;
  std::string about_;
  std::map<std::string, std::string> answers_;  // by `about` and request_key
};

}  // namespace adjoint::cuda
