// The one way to start a kernel of ours.
//
//   launch("softmax_rows", softmax_rows<float>, {.grid = dim3(rows), .block = dim3(256)}, stream,
//          x, y, columns);
//
// For kernels compiled with the program (in .cu files, where the template can be used) and for
// generated ones.
#pragma once

#include <cuda_runtime.h>

#include <string>
#include <type_traits>

#include "runtime/cuda/api/cuda.h"

namespace adjoint::cuda {

struct LaunchShape {
  dim3 grid = dim3(1);
  dim3 block = dim3(1);
  size_t shared_bytes = 0;  // dynamic; above 48 KiB it is asked for at each launch
};

inline cudaLaunchConfig_t launch_config([[maybe_unused]] const char* name, const LaunchShape& shape,
                                        cudaStream_t stream) {
#ifdef ADJOINT_FAKE_CUDA
  fake_cuda::name_next_launch(name);  // which the test double counts
#endif
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  return config;
}

inline void check_launch(cudaError_t code, const char* name, const LaunchShape& shape) {
  if (code == cudaSuccess) return;
  check(code, "launch", name, "grid", shape.grid.x, shape.grid.y, shape.grid.z, "block",
        shape.block.x, shape.block.y, shape.block.z, "shared", shape.shared_bytes);
}

// A generated kernel: `arguments` are the addresses of its parameters.
inline void launch(const char* name, cudaKernel_t kernel, const LaunchShape& shape,
                   cudaStream_t stream, void** arguments) {
  const cudaLaunchConfig_t config = launch_config(name, shape, stream);
  check_launch(cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel), arguments), name,
               shape);
}

#if defined(__CUDACC__) || defined(ADJOINT_FAKE_CUDA)
inline constexpr size_t kStaticSharedLimit = 48 << 10;

template <typename... P>
void launch(const char* name, void (*kernel)(P...), const LaunchShape& shape, cudaStream_t stream,
            std::type_identity_t<P>... arguments) {
  if (shape.shared_bytes > kStaticSharedLimit) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.shared_bytes)),
          "cudaFuncSetAttribute", name, shape.shared_bytes);
  }
  const cudaLaunchConfig_t config = launch_config(name, shape, stream);
  check_launch(cudaLaunchKernelEx(&config, kernel, arguments...), name, shape);
}
#endif

}  // namespace adjoint::cuda
