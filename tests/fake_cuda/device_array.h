// An array on the test double's device, for its tests.
//
//   DeviceArray<float> x({1, 2, 3});
//   launch("twice", twice, {.block = dim3(3)}, stream.get(), x.data());
//   EXPECT_THAT(x.read(stream), testing::ElementsAre(2, 4, 6));
#pragma once

#include <vector>

#include "runtime/cuda/api/cuda.h"

namespace fake_cuda {

template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values)
      : count_(values.size()), memory_(values.size() * sizeof(T)) {
    const adjoint::cuda::Stream stream;
    adjoint::cuda::copy_async(data(), values.data(), bytes(), stream.get());
    stream.synchronize();
  }

  T* data() const { return static_cast<T*>(memory_.data()); }
  size_t bytes() const { return count_ * sizeof(T); }
  // Behind all that is in the stream.
  std::vector<T> read(const adjoint::cuda::Stream& stream) const {
    std::vector<T> values(count_);
    adjoint::cuda::copy_async(values.data(), data(), bytes(), stream.get());
    return values;
  }

 private:
  size_t count_;
  adjoint::cuda::DeviceMemory memory_;
};

}  // namespace fake_cuda
