// Compiles generated kernels, several at once, and keeps what came out between runs.
//
//   Compiler compiler({.architecture = 90, .cache = default_cache_folder()});
//   std::vector<cudaKernel_t> kernels = compiler.compile(sources);
//
// Kernels are valid while the compiler lives. One user at a time.
#pragma once

#include <cuda_runtime.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "runtime/cuda/api/cuda.h"
#include "runtime/cuda/kernel.h"

namespace adjoint::cuda {

struct CompilerOptions {
  int architecture = 90;
  std::filesystem::path cache = {};  // compiled programs; empty: none are kept
  std::filesystem::path dump = {};   // each kernel's source is written there; empty: nowhere
  int threads = 0;                   // 0: as many as the machine has
};

// $XDG_CACHE_HOME/adjoint/kernels, or ~/.cache/adjoint/kernels; empty where neither is known.
std::filesystem::path default_cache_folder();

// A program of these kernels for one architecture, without any cache. Throws DeviceError where it
// does not compile; warnings count as that.
std::vector<char> compile_program(const std::vector<GeneratedKernel>& kernels, int architecture);

class Compiler {
 public:
  explicit Compiler(CompilerOptions options) : options_(std::move(options)) {}

  // The kernels in the order of their sources. Throws DeviceError where one does not compile;
  // a cache that cannot be read or written costs time only.
  std::vector<cudaKernel_t> compile(const std::vector<GeneratedKernel>& sources);

  // How many programs were compiled, and how many found in the cache.
  int compiled_programs() const { return compiled_; }
  int cached_programs() const { return cached_; }

 private:
  using Program = std::vector<GeneratedKernel>;
  size_t thread_count() const;
  std::vector<Program> programs(const std::vector<GeneratedKernel>& sources) const;
  std::vector<char> code_of(const Program& program);
  void dump(const GeneratedKernel& kernel) const;

  CompilerOptions options_;
  std::vector<Library> libraries_;
  std::map<std::string, cudaKernel_t> kernels_;  // by name
  int compiled_ = 0;
  int cached_ = 0;
};

}  // namespace adjoint::cuda
