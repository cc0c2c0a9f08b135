// For tests of target passes that make regions: text in, text out.
//
//   EXPECT_EQ(transformed(text, conv_moments_pass(takes_all)), joined);
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "graph/parser.h"
#include "graph/passes.h"
#include "graph/printer.h"
#include "graph/verifier.h"
#include "ops/standard_ops.h"
#include "runtime/cuda/takes_region.h"

namespace adjoint::cuda {

// A kernel for every region.
inline bool takes_all(const KernelRequest&) { return true; }

// The function of the text, which is printed as it stands, behind the pass and without dead nodes.
inline std::string transformed(const std::string& text, const Pass& pass) {
  Module module("m");
  const Function& function = parse_function(text, module, standard_ops());
  EXPECT_EQ(to_text(function, TextMode::structural), text);
  const Pipeline::Result result = Pipeline().add(pass).add(dce_pass()).run(function);
  verify(*result.function);
  return to_text(*result.function, TextMode::structural);
}

}  // namespace adjoint::cuda
