// argmax and argmin along any axis: the first best element, the first NaN before all.
#pragma once

#include "runtime/cpu/kernel.h"

namespace adjoint::cpu {

PreparedKernel prepare_argmax(const KernelRequest& request);
PreparedKernel prepare_argmin(const KernelRequest& request);

}  // namespace adjoint::cpu
