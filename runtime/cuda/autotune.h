// Chooses among kernels and their variants by running each on scratch memory.
//
//   Autotuner autotuner(default_cache_folder() / "choices", "NVIDIA H100");
//   KernelRequest request = ...;  // a convolution
//   const Candidate best =        // measured once per shape
//       autotuner.fastest(request, {{gemm, "64x48"}, {cudnn, "1"}, {cudnn, "6"}}, context, queue);
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "runtime/cuda/kernel.h"
#include "runtime/cuda/queue.h"

namespace adjoint::cuda {

struct Candidate {
  const KernelDef* def;
  std::string variant;

  std::string name() const;  // "cudnn.conv2d#1"; without a variant, "adjoint.conv2d"
};

// One user at a time, who has the queue's turn.
class Autotuner {
 public:
  // `file` keeps the answers between runs, which then compute the same bits; empty: nowhere. A file
  // that cannot be read or written costs time only. `about`: what they depend on besides the
  // request, in a line.
  explicit Autotuner(std::filesystem::path file = {}, std::string about = {});

  // The candidate with the smallest median time, of equals the first; there is one at least. The
  // answer is kept, so that each request is measured once, and again where there are others. A
  // candidate that fails, or for which there is no room, is passed over; where there is no room to
  // measure any, the first one is returned, and not kept. Throws the first one's DeviceError where
  // all of them fail.
  Candidate fastest(const KernelRequest& request, const std::vector<Candidate>& candidates,
                    Context& context, Queue& queue);

 private:
  void append(const std::string& key, const std::string& name) const;

  std::filesystem::path file_;
  std::string about_;
  std::map<std::string, std::string> answers_;  // by `about`, request_key and the candidates
};

}  // namespace adjoint::cuda
