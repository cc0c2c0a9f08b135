// The text dump of modules, functions and blocks: canonical, and read back by graph/parser.h.
//
//   adjoint 1
//   module "linear_relu" {
//     variable w : f32[784,10] = he_normal
//     function infer(x: f32[batch,784]) {
//       %0 = matmul(x, w) : f32[batch,10]
//       %1 = relu(%0) : f32[batch,10]
//       return y=%1
//     }
//   }
//
// Grammar, one statement a line:
//
//   variable NAME : TYPE = INITIALIZER [not_trainable]
//   resource NAME : TYPE
//   function NAME(NAME: TYPE, ...) { STATEMENTS }
//   read NAME [: TYPE]           (a variable or resource; TYPE where it is not the declared one)
//
//   %N = OP[@VERSION](VALUE, ...) [{FIELD=TEXT, ...}] : TYPE, ... [{ BLOCKS }]
//
//   block(NAME: TYPE, ...) { STATEMENTS }
//
//   update NAME <- VALUE
//
//   return NAME=VALUE, ...
//
// A VALUE is the name of an argument, variable or resource, %N for the output of line N, or %N.K
// for output K of a line with several. Versions other than 1 and attributes other than the defaults
// are printed. In full mode every argument, read and node is followed by its origin, @at(...) or
// @from(...), and the columns are padded for the eye; structural mode leaves both out, so that
// equal structures have equal texts.
#pragma once

#include <string>

#include "graph/module.h"

namespace adjoint {

inline constexpr int kTextVersion = 1;

enum class TextMode { full, structural };

std::string to_text(const Module& module, TextMode mode = TextMode::full);
std::string to_text(const Function& function, TextMode mode = TextMode::full);
std::string to_text(const Block& block, TextMode mode = TextMode::full);
// The function within its module's declarations, without the other functions: a text that parses.
std::string to_module_text(const Function& function, TextMode mode = TextMode::full);

// "%3", "%3.1", "x": a value as the dump writes it.
std::string value_text(const Block& block, ValueId id);

}  // namespace adjoint
