#include "runtime/cuda/codegen/compiler.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "graph/error.h"
#include "runtime/cuda/api/nvrtc.h"
#include "runtime/cuda/codegen/device_headers.h"
#include "runtime/cuda/codegen/generate.h"
#include "runtime/cuda/codegen/hash.h"

namespace adjoint::cuda {
namespace {

namespace fs = std::filesystem;

// What the embedded headers need of the C library; the compiler knows the functions itself.
const Header kLibraryHeaders[] = {
    {"cstdint",
     "#pragma once\n"
     "using int8_t = signed char; using int16_t = short; using int32_t = int;\n"
     "using int64_t = long long; using uint8_t = unsigned char; using uint16_t = unsigned short;\n"
     "using uint32_t = unsigned; using uint64_t = unsigned long long;\n"
     "using uintptr_t = unsigned long long;\n"},
    {"cmath", "#pragma once\n"},
    {"math.h", "#pragma once\n"},
    {"cstring", "#pragma once\n"},
};

std::vector<Header> all_headers() {
  std::vector<Header> headers(std::begin(kLibraryHeaders), std::end(kLibraryHeaders));
  for (const Header& header : device_headers()) headers.push_back(header);
  return headers;
}

std::vector<std::string> compile_options(int architecture) {
  return {"-std=c++20", "-fmad=false", "-arch=sm_" + std::to_string(architecture)};
}

std::string cache_key(const std::string& source, int architecture) {
  Hash hash;
  hash.add(source);
  for (const Header& header : all_headers()) hash.add(header.text);
  for (const std::string& option : compile_options(architecture)) hash.add(option);
  hash.add(compiler_version());
  return hash.hex();
}

// The cache's files end with their own length and hash: a torn one counts as none.
std::optional<std::vector<char>> read_cached(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return {};
  std::vector<char> code((std::istreambuf_iterator<char>(file)), {});
  if (code.size() < 32) return {};
  const std::string trailer(code.end() - 32, code.end());
  code.resize(code.size() - 32);
  Hash hash;
  hash.add(std::string(code.begin(), code.end()));
  if (hash.hex() != trailer) return {};
  return code;
}

void write_cached(const fs::path& path, const std::vector<char>& code) {
  std::error_code ignored;
  fs::create_directories(path.parent_path(), ignored);
  fs::path temporary = path;
  static std::atomic<int> number{0};
  temporary += ".part" + std::to_string(::getpid()) + "-" + std::to_string(number++);
  {
    std::ofstream file(temporary, std::ios::binary);
    file.write(code.data(), static_cast<std::streamsize>(code.size()));
    Hash hash;
    hash.add(std::string(code.begin(), code.end()));
    file << hash.hex();
    if (!file.flush()) {
      file.close();
      fs::remove(temporary, ignored);
      return;
    }
  }
  fs::rename(temporary, path, ignored);
  if (ignored) fs::remove(temporary, ignored);
}

}  // namespace

fs::path default_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache) {
    return fs::path(cache) / "adjoint/kernels";
  }
  if (const char* home = std::getenv("HOME"); home && *home) {
    return fs::path(home) / ".cache/adjoint/kernels";
  }
  return {};
}

std::vector<char> compile_program(const std::vector<GeneratedKernel>& kernels, int architecture) {
  return compile_cuda(program_source(kernels), kernels.front().name + ".cu", all_headers(),
                      compile_options(architecture));
}

size_t Compiler::thread_count() const {
  if (options_.threads > 0) return options_.threads;
  return std::max(1u, std::thread::hardware_concurrency());
}

// New kernels, dealt out to a few programs that compile side by side: reading the headers takes
// longer than a small kernel.
std::vector<Compiler::Program> Compiler::programs(
    const std::vector<GeneratedKernel>& sources) const {
  Program fresh;
  std::set<std::string> seen;
  for (const GeneratedKernel& source : sources) {
    if (!kernels_.contains(source.name) && seen.insert(source.name).second) fresh.push_back(source);
  }
  constexpr size_t kLeastKernels = 4;  // of a program
  constexpr size_t kMostPrograms = 8;
  const size_t most = std::min(thread_count(), kMostPrograms);
  const size_t count = std::clamp<size_t>(fresh.size() / kLeastKernels, 1, most);
  std::vector<Program> programs(std::min(count, fresh.size()));
  for (size_t i = 0; i < fresh.size(); ++i) programs[i % programs.size()].push_back(fresh[i]);
  return programs;
}

void Compiler::dump(const GeneratedKernel& kernel) const {
  std::error_code ignored;
  fs::create_directories(options_.dump, ignored);
  const fs::path path = options_.dump / (kernel.name + ".cu");
  std::ofstream file(path);
  file << program_source({kernel});
  if (!file.flush()) throw DataError("cannot write " + path.string());
}

std::vector<char> Compiler::code_of(const Program& program) {
  static std::mutex counts;
  const std::string source = program_source(program);
  const fs::path cached =
      options_.cache.empty()
          ? fs::path()
          : options_.cache / (cache_key(source, options_.architecture) + ".cubin");
  if (!cached.empty()) {
    if (auto code = read_cached(cached)) {
      std::lock_guard<std::mutex> lock(counts);
      ++cached_;
      return *std::move(code);
    }
  }
  std::vector<char> code = compile_program(program, options_.architecture);
  if (!cached.empty()) write_cached(cached, code);
  std::lock_guard<std::mutex> lock(counts);
  ++compiled_;
  return code;
}

std::vector<cudaKernel_t> Compiler::compile(const std::vector<GeneratedKernel>& sources) {
  if (!options_.dump.empty()) {
    for (const GeneratedKernel& source : sources) dump(source);
  }
  const std::vector<Program> all = programs(sources);
  std::vector<std::vector<char>> code(all.size());
  std::vector<std::exception_ptr> errors(all.size());
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i = next++; i < all.size(); i = next++) {
      try {
        code[i] = code_of(all[i]);
      } catch (...) {
        errors[i] = std::current_exception();
      }
    }
  };
  const size_t wanted =
      options_.threads > 0 ? options_.threads : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::jthread> threads;
  for (size_t i = 1; i < std::min(wanted, all.size()); ++i) threads.emplace_back(work);
  work();
  threads.clear();
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  for (size_t i = 0; i < all.size(); ++i) {
    libraries_.emplace_back(code[i]);
    for (const GeneratedKernel& kernel : all[i]) {
      kernels_[kernel.name] = libraries_.back().kernel(kernel.name);
    }
  }
  std::vector<cudaKernel_t> result;
  for (const GeneratedKernel& source : sources) result.push_back(kernels_.at(source.name));
  return result;
}

}  // namespace adjoint::cuda
