// The ops of the CPU for which the GPU has neither kernel nor decomposition, and why.
//
//   if (std::optional<WhyMissing> reason = why_missing("constant")) std::cout << to_text(*reason);
#pragma once

#include <map>
#include <optional>
#include <string_view>

namespace adjoint::testing {

enum class WhyMissing { never_launched };

inline std::string_view to_text(WhyMissing reason) {
  switch (reason) {
    case WhyMissing::never_launched:
      return "its value is copied to the device when a plan is made ready";
  }
  return "";
}

inline const std::map<std::string_view, WhyMissing>& ops_without_gpu_kernel() {
  static const std::map<std::string_view, WhyMissing> kOps = {
      {"constant", WhyMissing::never_launched}};
  return kOps;
}

inline std::optional<WhyMissing> why_missing(std::string_view op) {
  const auto found = ops_without_gpu_kernel().find(op);
  if (found == ops_without_gpu_kernel().end()) return {};
  return found->second;
}

}  // namespace adjoint::testing
