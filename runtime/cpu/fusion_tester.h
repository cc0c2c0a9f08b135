// For tests of fusion: functions and texts behind a pass.
//
//   EXPECT_EQ(run_pass(cpu_fusion(), text), fused_text);
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "graph/parser.h"
#include "graph/passes.h"
#include "graph/printer.h"
#include "graph/verifier.h"
#include "ops/standard_ops.h"
#include "runtime/cpu/kernels/region/region_ops.h"
#include "runtime/fusion.h"

namespace adjoint::cpu {

inline Rewritten fused(const Function& function, const Pass& pass) {
  std::optional<Rewritten> result = pass.run(function);
  if (!result) return copy_function(function);
  verify(*result->function);
  return *std::move(result);
}

inline std::string run_pass(const Pass& pass, const std::string& text) {
  Module module("m");
  module.variable("w", {DType::f32, {4, 3}});
  const Function& function = parse_function(text, module, standard_ops());
  return to_text(*fused(function, pass).function, TextMode::structural);
}
inline Pass cpu_fusion() { return fusion_pass({.role = region_role}); }
// As a device has it that copies scalars.
inline Pass fusion_with_scalars() {
  return fusion_pass({.role = region_role, .copies = [](const Node&) { return true; }});
}

}  // namespace adjoint::cpu
