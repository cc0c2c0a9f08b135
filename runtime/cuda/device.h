// NVIDIA GPUs as devices.
//
//   std::shared_ptr<Device> gpu = cuda::device();                    // the first GPU
//   State state(module, gpu);
//   Executable train(module.get_function("train"), gpu);
//
// In a build without a CUDA toolkit there is no GPU to be had: device() says so.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "runtime/device.h"

namespace adjoint::cuda {

struct DeviceOptions {
  int index = 0;
  bool deterministic = true;  // equal bits in every run on the same GPU; false: what is fastest
  // Convolution algorithms are chosen by measuring, once for each shape; false: by cuDNN's guess.
  bool autotune = true;
  bool tf32 = false;  // products of 32-bit floats may round operands to 10 bits of mantissa
  int streams = 3;    // that a step's launches may be spread over; 3 at most are used
  // A launch is brought onto the device while the one before it still runs (compute capability 9.0
  // and newer; others do without). Not yet measured on a GPU.
  bool overlap = false;
  // Where compiled kernels and measured choices are kept between runs; empty: nowhere, and then two
  // runs may measure otherwise and differ in their bits. Not set: in the user's cache.
  std::optional<std::filesystem::path> kernel_cache = {};
  std::filesystem::path dump_kernels = {};  // a folder for the sources of generated kernels
};

// Runs are enqueued and return at once; results that are copied to the host wait for them. At most
// 32 steps are on their way. A kernel that meets bad values stops all later writes to the state,
// and the next copy to the host throws DataError. Throws DeviceError where there is no driver, an
// old one, no such GPU, or one that is older than the kernels.
std::shared_ptr<Device> device(const DeviceOptions& options = {});

// Why device() would fail, in one line; empty where it would not.
std::string unavailable(int index = 0);

}  // namespace adjoint::cuda
