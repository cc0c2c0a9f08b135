// The passes that know no op by name.
//
//   Pipeline pipeline;
//   pipeline.repeat({cse_pass(), fold_pass(evaluate), dce_pass()}, 4);
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "graph/literal.h"
#include "graph/pass.h"

namespace adjoint {

// Pass "dce": drops nodes, variables and resources that no result or update needs, in nested blocks
// too. Arguments stay.
Pass dce_pass();

// Pass "cse": merges nodes of the same op, attributes, operands and nested blocks (all ops are pure
// functions, random ones included), in nested blocks too. Operands of commutative ops count in any
// order; constants and float attributes compare by bits. The node that stays gets the origins of
// all. What it merged away is dropped.
Pass cse_pass();

// Computes the outputs of a node whose operands are the given constants, or nothing where it cannot
// (no kernel, bad data).
using Evaluator =
    std::function<std::optional<std::vector<Literal>>(const Node&, std::span<const Literal>)>;

struct FoldOptions {
  int64_t max_elements = 1 << 16;  // of a node's outputs together
};

// Pass "fold": replaces nodes with operands, all of them constants, by constants, unless the
// outputs are larger than `max_elements`, or than the operands and 1024 elements. Throws GraphError
// where the evaluator's literals are not of the node's types.
Pass fold_pass(Evaluator evaluate, FoldOptions options = {});

// The function with numbers for the bound symbols, in types, attributes and nested blocks; every
// type is inferred again, and value ids stay the same. Symbols without a binding remain. Throws
// GraphError, naming the bindings, where an op refuses the shapes.
std::unique_ptr<Function> specialise(const Function& function, const DimBindings& bindings);

}  // namespace adjoint
