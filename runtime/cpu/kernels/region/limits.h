// Limits of the region engine.
#pragma once

#include <cstdint>

namespace adjoint::cpu {

inline constexpr int kMaxRegionValues = 256;
inline constexpr int64_t kScratchBytes = 128 << 10;  // of each thread, on its stack
inline constexpr int64_t kColumnUnit = 16;           // columns are shared out in such pieces

}  // namespace adjoint::cpu
