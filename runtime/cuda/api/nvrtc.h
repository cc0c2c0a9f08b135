// CUDA's run-time compiler.
//
//   std::vector<char> code = compile_cuda(source, "regions.cu", headers, {"-arch=sm_90"});
//   Library library(code);
#pragma once

#include <span>
#include <string>
#include <vector>

namespace adjoint::cuda {

struct Header {
  std::string name;  // as it is included
  std::string text;
};

// Device code for the options' architecture. Throws DeviceError with the compiler's words where the
// source does not compile.
std::vector<char> compile_cuda(const std::string& source, const std::string& name,
                               std::span<const Header> headers,
                               const std::vector<std::string>& options);
std::string compiler_version();  // "13.0"

}  // namespace adjoint::cuda
