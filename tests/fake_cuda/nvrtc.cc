// NVRTC's fake: the same source, compiled by the host's compiler into a shared object. The "cubin"
// is its path, which cudaLibraryLoadData opens.
#include "nvrtc.h"

#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "tests/fake_cuda/fake_cuda.h"

namespace fs = std::filesystem;

struct FakeNvrtcProgram {
  std::string source;
  std::map<std::string, std::string> headers;
  std::string log;
  std::string code;
};

namespace {

constexpr char kMark[] = "fake-cubin:";

// One folder for all programs of the process.
const fs::path& folder() {
  static const fs::path kFolder = [] {
    const char* base = getenv("TEST_TMPDIR");
    std::string pattern = (base ? fs::path(base) : fs::temp_directory_path()) / "nvrtc.XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) return fs::path();
    return fs::path(pattern);
  }();
  return kFolder;
}

// Where the double's headers are: beside this source, seen from a test's folder.
std::string include_folder() { return "tests/fake_cuda/include"; }

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

// For every kernel a C function that takes its parameters as cudaLaunchKernelExC does.
std::string trampolines(const std::string& source) {
  static const std::regex kKernel(
      "extern \"C\" __global__ void (__launch_bounds__\\([^)]*\\) )?(\\w+)\\(");
  std::string text;
  for (std::sregex_iterator it(source.begin(), source.end(), kKernel), end; it != end; ++it) {
    const std::string name = (*it)[2];
    const std::string type = "adjoint::cuda::in_" + name + "::Pointers";
    text += "extern \"C\" size_t " + name + "_parameter_bytes;\n";
    text += "size_t " + name + "_parameter_bytes = sizeof(" + type + ");\n";
    text += "extern \"C\" void " + name + "_trampoline(void** arguments) {\n  adjoint::cuda::in_" +
            name + "::" + name + "(*static_cast<" + type + "*>(arguments[0]));\n}\n";
  }
  return text;
}

bool known_option(const std::string& option) {
  static const std::regex kKnown("-std=c\\+\\+20|-fmad=false|-arch=sm_[0-9]+");
  return std::regex_match(option, kKnown);
}

std::string read(const fs::path& path) {
  std::ifstream file(path);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

}  // namespace

const char* nvrtcGetErrorString(nvrtcResult result) {
  return result == NVRTC_SUCCESS ? "NVRTC_SUCCESS" : "NVRTC_ERROR (of the test double)";
}

nvrtcResult nvrtcVersion(int* major, int* minor) {
  if (fake_cuda::next_call_fails()) return NVRTC_ERROR_INTERNAL_ERROR;
  *major = 13;
  *minor = 0;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcCreateProgram(nvrtcProgram* program, const char* source, const char*,
                               int header_count, const char* const* headers,
                               const char* const* include_names) {
  if (fake_cuda::next_call_fails()) return NVRTC_ERROR_OUT_OF_MEMORY;
  *program = new FakeNvrtcProgram{source, {}, {}, {}};
  for (int i = 0; i < header_count; ++i) (*program)->headers[include_names[i]] = headers[i];
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcDestroyProgram(nvrtcProgram* program) {
  delete *program;
  *program = nullptr;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcCompileProgram(nvrtcProgram program, int option_count,
                                const char* const* options) {
  if (fake_cuda::next_call_fails()) return NVRTC_ERROR_INTERNAL_ERROR;
  for (int i = 0; i < option_count; ++i) {
    if (!known_option(options[i])) return NVRTC_ERROR_INVALID_OPTION;
  }
  static std::atomic<int> number{0};
  const fs::path base = folder() / ("program" + std::to_string(number++));
  // The C library's headers are the host's own.
  for (const auto& [name, text] : program->headers) {
    if (name.find('/') != std::string::npos) write(base / name, text);
  }
  write(base / "program.cc", "#include <cuda_runtime.h>\n#include <cstring>\n#include <cmath>\n" +
                                 program->source + trampolines(program->source));
  const std::string library = base / "program.so", log = base / "log";
  const std::string command =
      "c++ -std=c++20 -O0 -w -shared -fPIC -ffp-contract=off "
      "-DADJOINT_FAKE_CUDA -I'" +
      base.string() + "' -I'" + include_folder() + "' -o '" + library + "' '" +
      (base / "program.cc").string() + "' >'" + log + "' 2>&1";
  const int status = std::system(command.c_str());
  program->log = read(log);
  if (status != 0) return NVRTC_ERROR_COMPILATION;
  program->code = kMark + library;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetCUBINSize(nvrtcProgram program, size_t* size) {
  if (fake_cuda::next_call_fails()) return NVRTC_ERROR_INVALID_PROGRAM;
  *size = program->code.size() + 1;  // with its end
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetCUBIN(nvrtcProgram program, char* code) {
  if (fake_cuda::next_call_fails()) return NVRTC_ERROR_INVALID_PROGRAM;
  code[program->code.copy(code, program->code.size())] = '\0';
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram program, size_t* size) {
  *size = program->log.size() + 1;
  return NVRTC_SUCCESS;
}

nvrtcResult nvrtcGetProgramLog(nvrtcProgram program, char* log) {
  log[program->log.copy(log, program->log.size())] = '\0';
  return NVRTC_SUCCESS;
}
