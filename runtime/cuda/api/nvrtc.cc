#include "runtime/cuda/api/nvrtc.h"

#include <nvrtc.h>

#include "graph/error.h"

namespace adjoint::cuda {
namespace {

void check_nvrtc(nvrtcResult result, const char* call) {
  if (result == NVRTC_SUCCESS) return;
  throw DeviceError(std::string(call) + ": " + nvrtcGetErrorString(result));
}

class Program {
 public:
  Program(const std::string& source, const std::string& name, std::span<const Header> headers) {
    std::vector<const char*> names, texts;
    for (const Header& header : headers) {
      names.push_back(header.name.c_str());
      texts.push_back(header.text.c_str());
    }
    check_nvrtc(nvrtcCreateProgram(&program_, source.c_str(), name.c_str(),
                                   static_cast<int>(headers.size()), texts.data(), names.data()),
                "nvrtcCreateProgram");
  }
  ~Program() { nvrtcDestroyProgram(&program_); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  nvrtcProgram get() const { return program_; }
  std::string log() const {
    size_t size = 0;
    if (nvrtcGetProgramLogSize(program_, &size) != NVRTC_SUCCESS || size == 0) return "";
    std::string text(size, '\0');
    if (nvrtcGetProgramLog(program_, text.data()) != NVRTC_SUCCESS) return "";
    while (!text.empty() && text.back() == '\0') text.pop_back();
    return text;
  }

 private:
  nvrtcProgram program_ = nullptr;
};

}  // namespace

std::vector<char> compile_cuda(const std::string& source, const std::string& name,
                               std::span<const Header> headers,
                               const std::vector<std::string>& options) {
  const Program program(source, name, headers);
  std::vector<const char*> texts;
  for (const std::string& option : options) texts.push_back(option.c_str());
  const nvrtcResult result =
      nvrtcCompileProgram(program.get(), static_cast<int>(texts.size()), texts.data());
  if (result == NVRTC_ERROR_COMPILATION) {
    throw DeviceError("a generated kernel does not compile: " + program.log());
  }
  check_nvrtc(result, "nvrtcCompileProgram");
  size_t size = 0;
  check_nvrtc(nvrtcGetCUBINSize(program.get(), &size), "nvrtcGetCUBINSize");
  std::vector<char> code(size);
  check_nvrtc(nvrtcGetCUBIN(program.get(), code.data()), "nvrtcGetCUBIN");
  return code;
}

std::string compiler_version() {
  int major = 0, minor = 0;
  check_nvrtc(nvrtcVersion(&major, &minor), "nvrtcVersion");
  return std::to_string(major) + "." + std::to_string(minor);
}

}  // namespace adjoint::cuda
