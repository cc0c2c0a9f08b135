// Kernels on the test double: correct ones compute, wrong ones are found.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "graph/error.h"
#include "runtime/cuda/api/launch.h"
#include "runtime/cuda/device/block.h"
#include "tests/fake_cuda/device_array.h"
#include "tests/fake_cuda/fake_cuda.h"

namespace fake_cuda {
namespace {

using adjoint::DeviceError;
using adjoint::cuda::LaunchShape;
using adjoint::cuda::Shared;
using adjoint::cuda::Stream;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Runs a kernel with one array, to its end; the array afterwards.
template <typename T, typename... A>
std::vector<T> run(void (*kernel)(T*, A...), const LaunchShape& shape, const std::vector<T>& values,
                   A... arguments) {
  const Stream stream;
  const DeviceArray<T> array(values);
  adjoint::cuda::launch("tested", kernel, shape, stream.get(), array.data(), arguments...);
  return array.read(stream);
}

class KernelsTest : public testing::TestWithParam<BlockOrder> {
 protected:
  void SetUp() override { reset({.block_order = GetParam()}); }
  void TearDown() override {
    reset();
    EXPECT_THAT(findings(), IsEmpty()) << "leaks";
  }
};
INSTANTIATE_TEST_SUITE_P(Orders, KernelsTest,
                         testing::Values(BlockOrder::forward, BlockOrder::reverse,
                                         BlockOrder::shuffled));

std::vector<float> counting(int count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

__global__ void twice(float* x, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) x[i] *= 2;
}

TEST_P(KernelsTest, EveryThreadOfTheGridRunsOnce) {
  for (const int count : {1, 31, 32, 33, 255, 256, 257, 1000}) {
    const auto shape = LaunchShape{.grid = dim3((count + 255) / 256), .block = dim3(256)};
    const std::vector<float> result = run(twice, shape, counting(count), count);
    for (int i = 0; i < count; ++i) ASSERT_EQ(result[i], 2.0f * (i + 1)) << count;
  }
  EXPECT_THAT(findings(), IsEmpty());
  EXPECT_EQ(launches()["tested"], 8);
}

__global__ void note_place(unsigned* x) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  x[block * 30 + thread] = block * 1000 + thread;
}

TEST_P(KernelsTest, BlocksAndThreadsHaveThreeDimensions) {
  const auto shape = LaunchShape{.grid = dim3(2, 3, 4), .block = dim3(5, 3, 2)};
  const std::vector<unsigned> result = run(note_place, shape, std::vector<unsigned>(720));
  for (unsigned i = 0; i < 720; ++i) ASSERT_EQ(result[i], i / 30 * 1000 + i % 30);
  EXPECT_THAT(findings(), IsEmpty());
}

__global__ void block_sum(float* x, int count) {
  const Shared<float> scratch = adjoint::cuda::shared_memory<float>(static_cast<int>(blockDim.x));
  float sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
    sum += x[i];
  }
  const auto add = [](float a, float b) { return a + b; };
  sum = adjoint::cuda::block_reduce(sum, scratch, add);
  // A second one in the same scratch memory, with what every thread got from the first.
  const float all = adjoint::cuda::block_reduce(sum, scratch, add);
  if (static_cast<int>(threadIdx.x) < count) x[threadIdx.x] = all;
}

TEST_P(KernelsTest, BlockReduceSumsWhateverTheBlock) {
  for (const int threads : {1, 2, 16, 32, 64, 256, 1024}) {
    for (const int count : {1, 31, 32, 33, 1023, 1025}) {
      const auto shape = LaunchShape{.block = dim3(threads), .shared_bytes = 4ul * threads};
      const std::vector<float> result = run(block_sum, shape, counting(count), count);
      const float expected = threads * (count * (count + 1) / 2.0f);
      ASSERT_EQ(result[0], expected) << threads << " threads, " << count;
      ASSERT_EQ(result[std::min(count, threads) - 1], expected);
    }
  }
  EXPECT_THAT(findings(), IsEmpty());
}

// block_reduce without its barrier before the result is read.
__global__ void sum_without_barrier(float* x) {
  const int thread = static_cast<int>(threadIdx.x);
  const Shared<float> scratch = adjoint::cuda::shared_memory<float>(64);
  scratch[thread] = x[thread];
  x[thread] = scratch[thread ^ 1] + scratch[63 - thread];
}

TEST_P(KernelsTest, MissingBarrierShowsInTheResult) {
  const auto result = run(sum_without_barrier, {.block = dim3(64), .shared_bytes = 256},
                          std::vector<float>(64, 1.0f));
  EXPECT_NE(result, std::vector<float>(64, 2.0f));
}

__global__ void warp_sums(float* x) {
  float value = x[threadIdx.x];
  for (int delta = 16; delta > 0; delta /= 2) {
    value += __shfl_down_sync(0xffffffffu, value, delta);
  }
  if (threadIdx.x % 32 == 0) x[threadIdx.x / 32] = value;
}

TEST_P(KernelsTest, WarpsSumByShuffles) {
  const auto result = run(warp_sums, {.block = dim3(96)}, counting(96));
  EXPECT_THAT(std::vector<float>(result.begin(), result.begin() + 3), ElementsAre(528, 1552, 2576));
  EXPECT_THAT(findings(), IsEmpty());
}

__global__ void shuffle_all_ways(double* x) {
  const double own = threadIdx.x;
  x[threadIdx.x] = __shfl_sync(~0u, own, 3);
  x[32 + threadIdx.x] = __shfl_xor_sync(~0u, own, 5);
  x[64 + threadIdx.x] = __shfl_up_sync(~0u, own, 2);
  x[96 + threadIdx.x] = __shfl_down_sync(~0u, own, 2, 8);
  x[128 + threadIdx.x] = __shfl_sync(~0u, own, 9, 8);
  x[160 + threadIdx.x] = __ballot_sync(~0u, threadIdx.x % 3 == 0);
  x[192 + threadIdx.x] = __any_sync(~0u, threadIdx.x == 7) + 2 * __all_sync(~0u, own < 31);
}

TEST_P(KernelsTest, ShufflesFollowTheirDefinitions) {
  const auto x = run(shuffle_all_ways, {.block = dim3(32)}, std::vector<double>(224));
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(x[i], 3);
    EXPECT_EQ(x[32 + i], i ^ 5);
    EXPECT_EQ(x[64 + i], i < 2 ? i : i - 2);
    EXPECT_EQ(x[96 + i], i % 8 < 6 ? i + 2 : i);
    EXPECT_EQ(x[128 + i], i / 8 * 8 + 1);
    EXPECT_EQ(x[160 + i], 0x49249249u);
    EXPECT_EQ(x[192 + i], 1);
  }
  EXPECT_THAT(findings(), IsEmpty());
}

struct Brought {
  unsigned lane, values[3];
};
__global__ void count_gathered(unsigned* x, unsigned lanes) {
  if (threadIdx.x >= lanes) return;
  const Brought own = {threadIdx.x, {0, 0, x[threadIdx.x]}};
  Brought of[32];
  gather(~0u, own, of);
  x[threadIdx.x] = 0;
  for (unsigned i = 0; i < 32; ++i) x[threadIdx.x] += of[i].lane == i && of[i].values[2] == i + 1;
}

TEST_P(KernelsTest, LanesGatherWhatTheirWarpBrings) {
  std::vector<unsigned> values(32);
  std::iota(values.begin(), values.end(), 1u);
  EXPECT_THAT(run(count_gathered, {.block = dim3(32)}, values, 32u), testing::Each(32u));
  EXPECT_THAT(findings(), IsEmpty());
  run(count_gathered, {.block = dim3(32)}, values, 31u);
  EXPECT_THAT(findings(), testing::Contains(HasSubstr("a lane takes no part")));
}

// The lanes of two halves of the warp meet on their own, at different times.
__global__ void sum_halves(int* x) {
  const int lane = static_cast<int>(threadIdx.x);
  if (lane < 16) {
    x[lane] = __shfl_sync(0x0000ffffu, lane, 0);
    __syncwarp(0x0000ffffu);
  } else {
    x[lane] = __shfl_sync(0xffff0000u, lane, 16);
  }
  __syncthreads();
}

TEST_P(KernelsTest, MasksNameTheLanesThatMeet) {
  const auto x = run(sum_halves, {.block = dim3(32)}, std::vector<int>(32));
  for (int i = 0; i < 32; ++i) EXPECT_EQ(x[i], i / 16 * 16);
  EXPECT_THAT(findings(), IsEmpty());
}

__global__ void count_with_atomics(unsigned* x) {
  atomicAdd(&x[0], 1u);
  atomicMax(&x[1], threadIdx.x);
  atomicMin(&x[2], threadIdx.x + 7);
  atomicCAS(&x[3], 0u, 5u);
  atomicInc(&x[4], 4u);
}

TEST_P(KernelsTest, AtomicOperations) {
  const auto x = run(count_with_atomics, {.grid = dim3(3), .block = dim3(100)},
                     std::vector<unsigned>{0, 0, 99, 0, 0});
  EXPECT_THAT(x, ElementsAre(300, 99, 7, 5, 0));
  EXPECT_THAT(findings(), IsEmpty());
}

__global__ void barrier_for_some(float*) {
  if (threadIdx.x < 40) __syncthreads();
}
__global__ void barrier_or_shuffle(float* x) {
  if (threadIdx.x == 63) {
    __syncthreads();
  } else {
    x[threadIdx.x] = __shfl_sync(~0u, 1.0f, 0);
  }
}
__global__ void shuffle_with_ended_lanes(float* x) {
  if (threadIdx.x >= 8) return;
  x[threadIdx.x] = __shfl_down_sync(~0u, 1.0f, 4);
}
__global__ void shuffle_outside_mask(float* x) {
  x[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, 0);
}
__global__ void shuffle_with_unequal_masks(float* x) {
  x[threadIdx.x] = __shfl_sync(threadIdx.x == 0 ? ~0u : ~1u, 1.0f, 1);
  __syncthreads();
}

TEST_P(KernelsTest, DivergentBarriersAreFoundAndDoNotHang) {
  run(barrier_for_some, {.block = dim3(64)}, counting(64));
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("24 of 64 threads end without reaching it")));
  reset({.block_order = GetParam()});
  run(barrier_or_shuffle, {.block = dim3(64)}, counting(64));
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("wait at different places in tested")));
  reset({.block_order = GetParam()});
  run(shuffle_with_ended_lanes, {.block = dim3(32)}, counting(32));
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("lane that takes no part")));
  reset({.block_order = GetParam()});
  run(shuffle_outside_mask, {.block = dim3(32)}, counting(32));
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("not in its own mask")));
  reset({.block_order = GetParam()});
  run(shuffle_with_unequal_masks, {.block = dim3(32)}, counting(32));
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("wait at different places in tested")));
  // The double works on.
  reset({.block_order = GetParam()});
  EXPECT_THAT(run(twice, {.block = dim3(2)}, {1, 2}, 2), ElementsAre(2, 4));
  EXPECT_THAT(findings(), IsEmpty());
}

__global__ void write_shared(float*, int count, int index, int offset) {
  adjoint::cuda::shared_memory<float>(count, offset)[index] = 1;
}
__global__ void read_fresh_shared(float* x) {
  const Shared<float> memory = adjoint::cuda::shared_memory<float>(4);
  x[blockIdx.x] = memory[3];
  memory[3] = 1;
}
__global__ void write_behind_shared(float*) { shared_memory()[64] = 1; }

TEST_P(KernelsTest, SharedMemoryIsExactlyAsLargeAsAskedFor) {
  const LaunchShape shape = {.block = dim3(1), .shared_bytes = 64};
  run(write_shared, shape, {0}, 16, 15, 0);
  EXPECT_THAT(findings(), IsEmpty());
  run(write_shared, shape, {0}, 16, 16, 0);
  run(write_shared, shape, {0}, 16, -1, 0);
  run(write_shared, shape, {0}, 17, 0, 0);
  run(write_shared, shape, {0}, 1, 0, 2);
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("index 16 of a shared array of 16"),
                                      HasSubstr("index -1 of a shared array of 16"),
                                      HasSubstr("beyond the 64 bytes"), HasSubstr("misaligned")));
}

TEST_P(KernelsTest, SharedMemoryIsNotInitialised) {
  const auto x =
      run(read_fresh_shared, {.grid = dim3(2), .block = dim3(1), .shared_bytes = 16}, {0, 0});
  EXPECT_TRUE(std::isnan(x[0]) && std::isnan(x[1]));
}

TEST_P(KernelsTest, WriteBehindSharedMemoryIsFound) {
  const LaunchShape shape = {.block = dim3(1), .shared_bytes = 64};
#ifdef __SANITIZE_ADDRESS__
  EXPECT_DEATH(run(write_behind_shared, shape, {0}), "AddressSanitizer: use-after-poison");
#else
  run(write_behind_shared, shape, {0});
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("write behind the shared memory in tested")));
#endif
}

TEST_P(KernelsTest, LaunchesBeyondTheLimitsFail) {
  auto expect_failure = [](const LaunchShape& shape, const std::string& words) {
    try {
      run(twice, shape, {1}, 1);
      ADD_FAILURE() << "launched: " << words;
    } catch (const DeviceError& error) {
      EXPECT_THAT(error.what(), HasSubstr(words));
    }
  };
  expect_failure({.grid = dim3(0)}, "cudaErrorInvalidConfiguration");
  expect_failure({.grid = dim3(1, 65536)}, "cudaErrorInvalidConfiguration");
  expect_failure({.grid = dim3(1, 1, 65536)}, "cudaErrorInvalidConfiguration");
  expect_failure({.block = dim3(1025)}, "cudaErrorInvalidConfiguration");
  expect_failure({.block = dim3(32, 33)}, "cudaErrorInvalidConfiguration");
  expect_failure({.block = dim3(1, 1, 65)}, "cudaErrorInvalidConfiguration");
  expect_failure({.shared_bytes = (227 << 10) + 1}, "cudaFuncSetAttribute");
  EXPECT_THAT(run(twice, {.shared_bytes = 227 << 10}, {1}, 1), ElementsAre(2));
  // Without cudaFuncSetAttribute there are 48 KiB.
  cudaLaunchConfig_t config = {dim3(1), dim3(1), (48 << 10) + 1, nullptr, nullptr, 0};
  EXPECT_EQ(cudaLaunchKernelEx(&config, barrier_for_some, nullptr), cudaErrorInvalidValue);
  config.dynamicSmemBytes = 48 << 10;
  EXPECT_EQ(cudaLaunchKernelEx(&config, barrier_for_some, nullptr), cudaSuccess);
  EXPECT_THAT(findings(), IsEmpty());
  cudaDeviceSynchronize();
}

__global__ void increase(int* x, int ending) {
  if (ending == 1) return;
  if (ending == 2) __syncthreads();
  begin_thread();
  x[threadIdx.x] += 1;
}

std::vector<int> increase_twice(int ending) {
  const Stream stream;
  const DeviceArray<int> array({0, 0});
  bool overlaps = false;
  for (int launch = 0; launch < 2; ++launch) {
    adjoint::cuda::launch("increase", increase, {.block = dim3(2)}, {stream.get(), &overlaps},
                          array.data(), launch == 0 ? 0 : ending);
    EXPECT_TRUE(overlaps);
  }
  return array.read(stream);
}

TEST_P(KernelsTest, KernelsThatOverlapWaitForTheOneBefore) {
  EXPECT_THAT(increase_twice(0), ElementsAre(2, 2));
  EXPECT_THAT(findings(), IsEmpty());
  EXPECT_EQ(overlap_count(), 1);
  for (int ending : {1, 2}) {
    reset();
    increase_twice(ending);
    EXPECT_THAT(findings(), ElementsAre("missing wait for the launch before in increase"));
  }
}

TEST(Overlap, NeedsADeviceThatCan) {
  reset({.architecture = 86});
  EXPECT_THROW(increase_twice(0), DeviceError);
  reset();
  EXPECT_THAT(findings(), IsEmpty());
}

}  // namespace
}  // namespace fake_cuda
