// What the compiler of generated kernels makes of one, here by hand, for library_test.cc.
#include <cuda_runtime.h>

struct Pointers {
  float* x;
  float factor;
};

__global__ void scale(Pointers pointers) {
  pointers.x[threadIdx.x] *= pointers.factor;
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(&pointers.x[1], 1.0f);
}

extern "C" {
extern const size_t scale_parameter_bytes;
const size_t scale_parameter_bytes = sizeof(Pointers);

void scale_trampoline(void** arguments) { scale(*static_cast<const Pointers*>(arguments[0])); }
}
