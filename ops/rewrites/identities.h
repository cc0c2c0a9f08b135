// Algebraic identities: a pass that replaces nodes by simpler ones of the same value.
//
//   Pipeline pipeline;
//   pipeline.repeat({identities_pass({.off = {"mul_self"}}), cse_pass(), dce_pass()}, 8);
//   for (const Identity& identity : identities()) std::cout << identity.formula << "\n";
//
// The default ones are exact: every bit stays as it was, NaN, infinity and -0 included (but for the
// sign and payload of a NaN, which no op defines). Others, marked `fast`, hold for real numbers
// only. One that removes stop_gradient is among them: run the pass after differentiation.
#pragma once

#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/pass.h"

namespace adjoint {

struct Identity {
  std::string_view name;
  std::string_view formula;  // "neg(neg(x)) = x"
  const OpDef* op;           // of the node that it replaces; null: any elementwise op
  // The new value, of the node's type; empty where the identity does not apply.
  Value (*apply)(const RewriteSite&);
  bool fast = false;
};

// All of them, by family, in the order in which they are tried.
std::span<const Identity> arithmetic_identities();
std::span<const Identity> shape_identities();
std::span<const Identity> fast_identities();
std::vector<Identity> identities();

struct IdentityOptions {
  bool fast = false;                            // also those that are not exact
  std::set<std::string, std::less<>> off = {};  // names of identities not to use
};

// Pass "identities". Throws GraphError for an unknown name in `off`.
Pass identities_pass(IdentityOptions options = {});

}  // namespace adjoint
