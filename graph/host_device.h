// Marks functions that both g++ and nvcc compile, for the host and for the device.
#pragma once

#ifdef __CUDACC__
#define ADJOINT_HOST_DEVICE __host__ __device__
#else
#define ADJOINT_HOST_DEVICE
#endif
