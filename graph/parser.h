// Reads the text dump that graph/printer.h writes (the grammar stands there).
//
//   std::unique_ptr<Module> module = parse_module(text, standard_ops(), "model.adjoint");
//   to_text(*module) == text;
//
// A text may come from anywhere: whatever it holds, the result is a module that passes the verifier
// or a GraphError "line 12: ...". Types are checked against the inferred ones and may be left out
// (except before nested blocks); comments run from # to the end of the line.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "graph/module.h"

namespace adjoint {

// `file`: what errors call the text; nodes without an origin get its line there. Without a file
// they keep an unknown origin, so that the result prints back as exactly the same text.
std::unique_ptr<Module> parse_module(std::string_view text, const OpSet& ops,
                                     const std::string& file = "");

// Adds the one function that the text holds, without version line, to `module`, which declares the
// variables and resources. On an error the module is unchanged.
Function& parse_function(std::string_view text, Module& module, const OpSet& ops,
                         const std::string& file = "");

// Only the nodes of a block: arguments, nodes and results as "block(...) {...}".
std::shared_ptr<const Block> parse_block(std::string_view text, const OpSet& ops,
                                         const std::string& file = "");

}  // namespace adjoint
