// Chooses among kernels and their variants by running each on scratch memory.
//
//   Autotuner autotuner(default_cache_folder() / "choices", "NVIDIA H100");
//   KernelRequest request = ...;  // a convolution
//   const Candidate best =        // measured once per shape: "cudnn.conv2d#1"
//       autotuner.fastest(request, {&gemm, &cudnn}, context, queue);
#pragma once

#include <filesystem>
#include <map>
#include <optional>
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

// Kernels that support a request, in their table's order, with each variant; up to the first kernel
// without variants, which is there where no kernel before has any.
std::vector<Candidate> candidates_for(const KernelRequest& request,
                                      const std::vector<const KernelDef*>& kernels,
                                      Context& context);

// One user at a time, who has the queue's turn.
class Autotuner {
 public:
  // `file` keeps the answers between runs, which then compute the same bits; empty: nowhere. A file
  // that cannot be read or written costs time only. `about`: what they depend on besides the
  // request, in a line.
  explicit Autotuner(std::filesystem::path file = {}, std::string about = {});

  // Of the candidates the one with the smallest median time, of equals the first; none where there
  // are none. The answer is kept, so that each request is measured once, and again where there are
  // other kernels or other variants of ours. What libraries offer is not asked for where there is
  // an answer: that alone loads them. A candidate that fails, or for which there is no room, is
  // passed over; where there is no room to measure any, the first one is returned, and not kept.
  // Throws the first one's DeviceError where all of them fail.
  std::optional<Candidate> fastest(const KernelRequest& request,
                                   const std::vector<const KernelDef*>& kernels, Context& context,
                                   Queue& queue);

 private:
  std::string key_of(const KernelRequest& request, const std::vector<const KernelDef*>& kernels,
                     Context& context) const;
  std::optional<Candidate> known(const std::string& key, const KernelRequest& request,
                                 const std::vector<const KernelDef*>& kernels,
                                 Context& context) const;
  void append(const std::string& key, const std::string& name) const;

  std::filesystem::path file_;
  std::string about_;
  std::map<std::string, std::string> answers_;  // by `about`, request_key and the kernels
};

}  // namespace adjoint::cuda
