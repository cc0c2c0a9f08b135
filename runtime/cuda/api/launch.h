// The one way to start a kernel of ours.
//
//   launch("softmax_rows", softmax_rows<float>, {.grid = dim3(rows), .block = dim3(256)}, stream,
//          x, y, columns);
//
// For kernels compiled with the program (in .cu files, where the template can be used) and for
// generated ones. Every kernel begins with begin_kernel() (runtime/cuda/device/block.h).
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

// Where a kernel is launched. A launch that overlaps is brought onto the device while the one
// before it in the stream still runs, and waits there, in begin_kernel(), for its end: what a
// launch costs is paid meanwhile ("programmatic dependent launch", CUDA C++ Programming Guide; for
// compute capability 9.0 and newer).
inline constexpr int kOldestToOverlap = 90;
struct LaunchStream {
  cudaStream_t handle = nullptr;
  // Whether the next launch overlaps; it is true behind every launch. Null: none does.
  bool* overlaps = nullptr;

  LaunchStream(cudaStream_t handle = nullptr, bool* overlaps = nullptr)  // NOLINT: a plain one too
      : handle(handle), overlaps(overlaps) {}
  operator cudaStream_t() const { return handle; }  // NOLINT: for libraries and copies
};

class LaunchConfig {
 public:
  LaunchConfig([[maybe_unused]] const char* name, const LaunchShape& shape,
               const LaunchStream& stream) {
#ifdef ADJOINT_FAKE_CUDA
    fake_cuda::name_next_launch(name);  // which the test double counts
#endif
    config_.gridDim = shape.grid;
    config_.blockDim = shape.block;
    config_.dynamicSmemBytes = shape.shared_bytes;
    config_.stream = stream.handle;
    if (stream.overlaps == nullptr || !*stream.overlaps) return;
    overlap_.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap_.val.programmaticStreamSerializationAllowed = 1;
    config_.attrs = &overlap_;
    config_.numAttrs = 1;
  }
  LaunchConfig(const LaunchConfig&) = delete;
  LaunchConfig& operator=(const LaunchConfig&) = delete;
  const cudaLaunchConfig_t* get() const { return &config_; }

 private:
  cudaLaunchConfig_t config_ = {};
  cudaLaunchAttribute overlap_ = {};
};

inline void end_launch(cudaError_t code, const char* name, const LaunchShape& shape,
                       const LaunchStream& stream) {
  if (code != cudaSuccess) {
    check(code, "launch", name, "grid", shape.grid.x, shape.grid.y, shape.grid.z, "block",
          shape.block.x, shape.block.y, shape.block.z, "shared", shape.shared_bytes);
  }
  if (stream.overlaps != nullptr) *stream.overlaps = true;
}

// A generated kernel: `arguments` are the addresses of its parameters.
inline void launch(const char* name, cudaKernel_t kernel, const LaunchShape& shape,
                   const LaunchStream& stream, void** arguments) {
  const LaunchConfig config(name, shape, stream);
  end_launch(cudaLaunchKernelExC(config.get(), reinterpret_cast<const void*>(kernel), arguments),
             name, shape, stream);
}

#if defined(__CUDACC__) || defined(ADJOINT_FAKE_CUDA)
inline constexpr size_t kStaticSharedLimit = 48 << 10;

template <typename... P>
void launch(const char* name, void (*kernel)(P...), const LaunchShape& shape,
            const LaunchStream& stream, std::type_identity_t<P>... arguments) {
  if (shape.shared_bytes > kStaticSharedLimit) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.shared_bytes)),
          "cudaFuncSetAttribute", name, shape.shared_bytes);
  }
  const LaunchConfig config(name, shape, stream);
  end_launch(cudaLaunchKernelEx(config.get(), kernel, arguments...), name, shape, stream);
}
#endif

}  // namespace adjoint::cuda
