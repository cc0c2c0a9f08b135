// In what precision products and convolutions are computed: a pass over a function of f32.
//
//   auto half = apply_precision(*optimize(module.get_function("train")).function, Precision::bf16);
//   Executable train(*half.function, device);
//
// Variables, results and all other ops stay what they are: with bf16, the operands of products and
// convolutions, and of their gradients, are rounded to bf16, added up in f32, and the sums rounded
// to bf16 once. Products with a side shorter than 16 stay, too.
#pragma once

#include <optional>
#include <string_view>

#include "graph/pass.h"

namespace adjoint {

enum class Precision {
  f32,
  tf32,  // operands rounded to 10 bits of mantissa inside the device's kernels: the device's
         // option, and no change to the function
  bf16,
};
std::string_view name(Precision precision);
std::optional<Precision> precision_of(std::string_view name);

// Pass "bf16_products": each matmul, conv2d, conv2d_input_grad and conv2d_filter_grad of f32 that
// adds in f32 becomes one of bf16, between casts; but for a matmul with a side that is known to be
// shorter than 16, the tiles of tensor cores, whose casts cost more than they save.
Pass bf16_products_pass();

// Pass "bf16_reshapes": a reshape before a cast to bf16, or behind one from it, is of bf16.
Pass bf16_reshapes_pass();

// The function in this precision; equal operands are cast once.
Pipeline::Result apply_precision(const Function& function, Precision precision);

}  // namespace adjoint
