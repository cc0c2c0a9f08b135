// Graphviz pictures of functions.
//
//   std::ofstream("train.dot") << to_dot(function);     // dot -Tsvg train.dot > train.svg
#pragma once

#include <string>

#include "graph/module.h"
#include "graph/printer.h"

namespace adjoint {

struct DotOptions {
  // Whether the function is as the user and the gradient pass built it: only then do gradient
  // origins, which hold numbers of that function, lead to nodes of this one.
  bool as_built = true;
  TextMode mode = TextMode::full;  // structural: no scopes, no clusters, no dashed edges
};

// One box for each node: number, op, attributes (shortened), types and scope, in a cluster
// "forward" or "gradient"; leaves are ellipses, results and updates plain text. A gradient node
// points to its forward node by a dashed edge. Canonical: equal functions have equal texts.
std::string to_dot(const Function& function, const DotOptions& options = {});

}  // namespace adjoint
