// The function that gives a module's variables their first values.
//
//   Function& initialize = add_initialize(module);      // after the last variable is declared
//   // run it once, with a seed as "key"
#pragma once

#include <source_location>
#include <string>

#include "graph/module.h"

namespace adjoint {

// The number of inputs and outputs of one element of a variable, as Keras counts them: the last
// dimension is the outputs, the one before it the inputs, all earlier ones the receptive field,
// which multiplies both. A vector's are both its size, a scalar's 1; at least 1 in any case.
struct Fans {
  int64_t in = 1;
  int64_t out = 1;
};
Fans fans_of(const Shape& shape);

// Adds the function NAME(key: i64[]), which updates every variable with its Initializer's value.
// Random ones are drawn with a stream that is the hash of the variable's name: they depend on key,
// name and shape alone, not on what else the module holds. He and Glorot are plain (not truncated)
// normals, or uniform, with the deviations and limits of graph/module.h. Throws GraphError where
// the function exists, or a variable cannot have its initializer (a random integer); the module is
// then as it was.
Function& add_initialize(Module& module, std::string name = "initialize",
                         std::source_location where = std::source_location::current());

}  // namespace adjoint
