// The layer table and other text for people.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "ops/layers/sequential.h"

namespace adjoint::mnist {

// A row for each layer: name, kind, output shape, parameters; then the totals.
std::string layer_table(const Sequential& network);

// "12,345,678".
std::string with_commas(int64_t number);
// "123.4 MB" (10^6 bytes).
std::string megabytes(size_t bytes);

}  // namespace adjoint::mnist
