// The headers that generated kernels include, as text inside the program.
#pragma once

#include <span>

#include "runtime/cuda/api/nvrtc.h"

namespace adjoint::cuda {

std::span<const Header> device_headers();

}  // namespace adjoint::cuda
