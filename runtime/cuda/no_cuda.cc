// In place of the GPU runtime where no CUDA toolkit was found at build time.
#include "graph/error.h"
#include "runtime/cuda/device.h"

namespace adjoint::cuda {

std::string unavailable(int) { return "this build has no GPU runtime: no CUDA toolkit was found"; }

std::shared_ptr<Device> device(const DeviceOptions& options) {
  throw DeviceError(unavailable(options.index));
}

}  // namespace adjoint::cuda
