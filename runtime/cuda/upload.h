// Tensors that are copied to a GPU while it computes, from page-locked memory of the host. Internal
// to runtime/cuda/device.h.
#pragma once

#include <memory>

#include "runtime/cuda/bound_plan.h"

namespace adjoint::cuda {

// `tensors` are the device's own, for this slot alone.
std::unique_ptr<UploadSlot> make_upload_slot(Tensors tensors, std::shared_ptr<Engine> engine);

}  // namespace adjoint::cuda
