// cuDNN's wrapper: which algorithms it offers, failures.
#include "runtime/cuda/api/cudnn.h"

#include "graph/error.h"
#include "runtime/cuda/kernels/library_tester.h"

namespace adjoint::cuda {
namespace {

constexpr ConvDirection kDirections[] = {ConvDirection::forward, ConvDirection::input_grad,
                                         ConvDirection::filter_grad};

ConvShape some_shape(DType dtype = DType::f32) {
  return {.dtype = dtype,
          .batch = 2,
          .x = {6, 7},
          .y = {4, 5},
          .filter = {3, 3},
          .x_channels = 4,
          .y_channels = 8};
}

class CudnnTest : public testing::Test {
 protected:
#ifdef ADJOINT_FAKE_CUDA
  CudnnTest() { fake_cuda::reset(); }
#endif
};

TEST_F(CudnnTest, OffersEachAlgorithmOnce) {
  const Cudnn cudnn;
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Convolution convolution(some_shape(dtype));
    for (ConvDirection direction : kDirections) {
      const std::vector<ConvAlgorithm> careful = cudnn.algorithms(convolution, direction);
      const std::vector<ConvAlgorithm> all = cudnn.algorithms(convolution, direction, false);
      EXPECT_FALSE(careful.empty());
      EXPECT_GE(all.size(), careful.size());
      std::vector<int> numbers;
      for (const ConvAlgorithm& algorithm : all) numbers.push_back(algorithm.number);
      std::ranges::sort(numbers);
      EXPECT_EQ(std::ranges::adjacent_find(numbers), numbers.end());
    }
  }
  EXPECT_THAT(findings(), testing::IsEmpty());
}

TEST_F(CudnnTest, NonsenseIsAnError) {
  ConvShape shape = some_shape();
  shape.batch = 0;
  EXPECT_THROW(Convolution{shape}, DeviceError);
  shape = some_shape();
  shape.y = {4, 4};
  EXPECT_THROW(Cudnn().algorithms(Convolution(shape), ConvDirection::forward), DeviceError);
}

#ifdef ADJOINT_FAKE_CUDA
TEST_F(CudnnTest, EveryFailingCallIsAnErrorWithoutLeaks) {
  auto convolve = [] {
    const Cudnn cudnn;
    const Convolution convolution(some_shape());
    const Stream stream;
    const DeviceMemory x(2 * 6 * 7 * 4 * 4), filter(8 * 9 * 4 * 4), y(2 * 4 * 5 * 8 * 4);
    for (const DeviceMemory* memory : {&x, &filter, &y}) {
      fill_async(memory->data(), 0, memory->bytes(), stream.get());
    }
    for (ConvDirection direction : kDirections) {
      const ConvAlgorithm algorithm = cudnn.algorithms(convolution, direction).front();
      const DeviceMemory workspace(algorithm.workspace_bytes);
      cudnn.run(
          convolution, direction, algorithm,
          {.x = x.data(), .filter = filter.data(), .y = y.data(), .workspace = workspace.data()},
          stream.get());
      stream.synchronize();
    }
  };
  expect_each_failing_call_is_an_error(convolve, 30);
}
#endif

}  // namespace
}  // namespace adjoint::cuda
