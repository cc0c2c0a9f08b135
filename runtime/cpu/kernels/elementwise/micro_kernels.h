// Micro-kernels: one elementwise op over a stretch of contiguous elements. Regions run them tile by
// tile; which exist, these tables say, and with them which elementwise ops the CPU has.
//
//   const MicroEntry* exp = find_micro_kernel("exp", DType::f32, DType::f32);
//   exp->kernel({.in = {x}, .out = y, .count = 1024});
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "graph/attributes.h"
#include "graph/dtype.h"

namespace adjoint::cpu {

// `out` may be one of `in`, but may not overlap it otherwise.
struct MicroCall {
  std::array<const void*, 3> in = {};
  void* out = nullptr;
  int64_t count = 0;
  std::array<double, 2> parameters = {};
};
using MicroKernel = void (*)(const MicroCall&);

// An op's attributes as numbers, in the order of their fields.
using MicroParameters = std::array<double, 2>;

struct MicroEntry {
  std::string_view op;
  DType in;  // of the last operand; others follow from the op
  DType out;
  MicroKernel kernel;
  MicroParameters (*parameters)(const Attributes&) = nullptr;  // null: the op has none
};

// Null where there is none. `in` is the type of the op's last operand.
const MicroEntry* find_micro_kernel(std::string_view op, DType in, DType out);
// The ops that have micro-kernels, each once.
std::vector<std::string_view> micro_kernel_ops();

// The tables' parts.
void add_unary(std::vector<MicroEntry>& table);
void add_binary(std::vector<MicroEntry>& table);
void add_logic(std::vector<MicroEntry>& table);
void add_casts(std::vector<MicroEntry>& table);

}  // namespace adjoint::cpu
