// Memory, devices and failing calls of the test double.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "graph/error.h"
#include "runtime/cuda/api/launch.h"
#include "tests/fake_cuda/device_array.h"
#include "tests/fake_cuda/fake_cuda.h"

namespace fake_cuda {
namespace {

using adjoint::DeviceError;
using adjoint::cuda::copy_async;
using adjoint::cuda::DeviceMemory;
using adjoint::cuda::fill_async;
using adjoint::cuda::launch;
using adjoint::cuda::PinnedMemory;
using adjoint::cuda::Stream;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class MemoryTest : public testing::Test {
 protected:
  void SetUp() override { reset(); }
};

template <typename F>
std::string message_of(F&& body) {
  try {
    body();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "";
}

TEST_F(MemoryTest, AllocationsAreAlignedAndHoldNaN) {
  const Stream stream;
  for (const size_t count : {1, 63, 64, 65, 1000}) {
    const DeviceMemory memory(count * sizeof(float));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.data()) % 256, 0);
    std::vector<float> values(count);
    copy_async(values.data(), memory.data(), memory.bytes(), stream.get());
    for (const float value : values) EXPECT_TRUE(std::isnan(value));
  }
  EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(MemoryTest, RangesLieInOneAllocation) {
  const DeviceMemory memory(100);
  const PinnedMemory pinned(100);
  char* const begin = static_cast<char*>(memory.data());
  EXPECT_TRUE(is_device_range(begin, 100));
  EXPECT_TRUE(is_device_range(begin + 99, 1));
  EXPECT_FALSE(is_device_range(begin + 99, 2));
  EXPECT_FALSE(is_device_range(begin - 1, 2));
  EXPECT_FALSE(is_device_range(pinned.data(), 100));
  EXPECT_FALSE(is_device_range(&begin, 1));
  EXPECT_FALSE(is_device_range(nullptr, 0));
}

TEST_F(MemoryTest, CopiesAndFillsBeyondAnAllocationFail) {
  const Stream stream;
  const DeviceMemory memory(100);
  char* const begin = static_cast<char*>(memory.data());
  char host[200] = {};
  auto copy_to = [&](size_t offset, size_t bytes) {
    return message_of([&] { copy_async(begin + offset, host, bytes, stream.get()); });
  };
  EXPECT_EQ(copy_to(0, 100), "");
  EXPECT_EQ(copy_to(99, 1), "");
  EXPECT_THAT(findings(), IsEmpty());
  EXPECT_THAT(copy_to(0, 101), HasSubstr("cudaErrorInvalidValue"));
  EXPECT_THAT(copy_to(100, 1), HasSubstr("cudaErrorInvalidValue"));
  EXPECT_THAT(message_of([&] { fill_async(begin + 50, 0, 51, stream.get()); }),
              HasSubstr("cudaErrorInvalidValue"));
  EXPECT_THAT(message_of([&] { copy_async(host, begin - 1, 2, stream.get()); }),
              HasSubstr("cudaErrorInvalidValue"));
  EXPECT_THAT(findings(),
              ElementsAre(HasSubstr("copy to of 101 bytes"), HasSubstr("copy to of 1 bytes"),
                          HasSubstr("fill of 51"), HasSubstr("copy from of 2 bytes")));
}

TEST_F(MemoryTest, PageableMemoryIsReadWhenEnqueuedAndPinnedWhenRun) {
  const Stream stream;
  const PinnedMemory pinned(4);
  const DeviceArray<int> from_pageable({0}), from_pinned({0});
  int pageable = 1;
  int& value = *static_cast<int*>(pinned.data());
  value = 1;
  copy_async(from_pageable.data(), &pageable, 4, stream.get());
  copy_async(from_pinned.data(), pinned.data(), 4, stream.get());
  pageable = value = 2;
  EXPECT_THAT(from_pageable.read(stream), ElementsAre(1));
  EXPECT_THAT(from_pinned.read(stream), ElementsAre(2));
  // Into pinned memory nothing is copied before something waits.
  value = 0;
  copy_async(pinned.data(), from_pageable.data(), 4, stream.get());
  EXPECT_EQ(value, 0);
  stream.synchronize();
  EXPECT_EQ(value, 1);
}

__global__ void write_at(char* x, int offset) { x[offset] = 1; }

void write_next_to(int offset) {
  const Stream stream;
  const DeviceMemory memory(100);
  launch("write_at", write_at, {}, stream.get(), static_cast<char*>(memory.data()), offset);
  stream.synchronize();
}

TEST_F(MemoryTest, WritesNextToAnAllocationAreFound) {
  write_next_to(99);
  EXPECT_THAT(findings(), IsEmpty());
#ifdef __SANITIZE_ADDRESS__
  EXPECT_DEATH(write_next_to(100), "AddressSanitizer: use-after-poison");
  EXPECT_DEATH(write_next_to(-1), "AddressSanitizer: use-after-poison");
#else
  write_next_to(100);
  write_next_to(-1);
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("write behind memory of 100 bytes"),
                                      HasSubstr("write before memory of 100 bytes")));
#endif
}

void write_into_freed() {
  const Stream stream;
  char* freed = nullptr;
  {
    const DeviceMemory memory(100);
    freed = static_cast<char*>(memory.data());
  }
  launch("write_at", write_at, {}, stream.get(), freed, 3);
  stream.synchronize();
}

TEST_F(MemoryTest, KernelThatWritesFreedMemoryIsFound) {
#ifdef __SANITIZE_ADDRESS__
  EXPECT_DEATH(write_into_freed(), "AddressSanitizer: use-after-poison");
#else
  write_into_freed();
  EXPECT_THAT(findings(), ElementsAre("use after free: write into memory of 100 bytes"));
#endif
}

TEST_F(MemoryTest, CopyOfFreedMemoryIsFound) {
  const Stream stream;
  void* freed = nullptr;
  {
    const DeviceMemory memory(100);
    freed = memory.data();
  }
  EXPECT_THAT(message_of([&] { fill_async(freed, 0, 100, stream.get()); }),
              HasSubstr("cudaErrorInvalidValue"));
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("fill of 100 bytes that are not within one live")));
}

TEST_F(MemoryTest, FreeingWaitsForTheWork) {
  const Stream stream;
  {
    const DeviceMemory memory(100);
    fill_async(memory.data(), 0, 100, stream.get());
  }
  EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(MemoryTest, LeaksAndWrongFreesAreFound) {
  void* memory = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, 10), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(memory), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaErrorInvalidValue);
  EXPECT_THAT(findings(),
              ElementsAre("freed what was not allocated so", "use after free: memory freed twice"));
  ASSERT_EQ(cudaMalloc(&memory, 10), cudaSuccess);
  ASSERT_EQ(cudaMallocHost(&memory, 20), cudaSuccess);
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&event, cudaEventDefault), cudaSuccess);
  reset();
  EXPECT_THAT(findings(), testing::UnorderedElementsAre(
                              "1 times never destroyed: stream", "1 times never destroyed: event",
                              "leak: never freed: memory of 10 bytes",
                              "leak: never freed: pinned memory of 20 bytes"));
  EXPECT_EQ(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
  EXPECT_THAT(findings(), testing::Contains(HasSubstr("destroyed stream that does not exist")));
  reset();
  EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(MemoryTest, MemoryRunsOut) {
  reset({.memory_bytes = 1000});
  const DeviceMemory first(600);
  EXPECT_THAT(message_of([] { DeviceMemory second(401); }),
              HasSubstr("no room for 401 bytes: 400 of 1000 are free"));
  const DeviceMemory second(400);
  EXPECT_THAT(message_of([] { DeviceMemory third(1); }), HasSubstr("0 of 1000 are free"));
}

TEST_F(MemoryTest, DevicesAreAsTheSettingsSay) {
  EXPECT_EQ(adjoint::cuda::device_count(), 1);
  EXPECT_EQ(adjoint::cuda::device_properties(0).architecture, 90);
  EXPECT_EQ(adjoint::cuda::device_properties(0).shared_bytes, 227u << 10);
  reset({.architecture = 86, .memory_bytes = 5000});
  EXPECT_EQ(adjoint::cuda::device_properties(0).architecture, 86);
  EXPECT_EQ(adjoint::cuda::device_properties(0).shared_bytes, 99u << 10);
  EXPECT_EQ(adjoint::cuda::device_properties(0).total_bytes, 5000);
  EXPECT_THAT(message_of([] { adjoint::cuda::device_properties(1); }),
              HasSubstr("cudaErrorInvalidDevice"));
  reset({.devices = 0});
  EXPECT_EQ(adjoint::cuda::device_count(), 0);
  EXPECT_THAT(message_of([] { Stream stream; }), HasSubstr("cudaErrorNoDevice"));
  reset({.driver_version = 0});
  EXPECT_EQ(message_of(adjoint::cuda::device_count), "no NVIDIA driver was found");
  reset({.driver_version = 12040});
  EXPECT_EQ(message_of(adjoint::cuda::device_count),
            "the NVIDIA driver serves CUDA 12.4; this program needs one for CUDA 13.0");
  EXPECT_THAT(message_of([] { DeviceMemory memory(1); }), HasSubstr("cudaErrorInsufficientDriver"));
}

// What a small program does; each of its calls can be made to fail.
void allocate_fill_and_read() {
  const Stream stream;
  const DeviceMemory memory(10);
  char* const data = static_cast<char*>(memory.data());
  fill_async(data, 2, 10, stream.get());
  launch("write_at", write_at, {}, stream.get(), data, 0);
  const adjoint::cuda::Event event;
  event.record(stream);
  event.synchronize();
  char first = 0;
  copy_async(&first, data, 1, stream.get());
  EXPECT_EQ(first, 1);
}

TEST_F(MemoryTest, EveryCallCanFailOnce) {
  allocate_fill_and_read();
  const int64_t calls = call_count();
  ASSERT_EQ(calls, 8);
  for (int64_t call = 0; call < calls; ++call) {
    reset({.failing_call = call});
    EXPECT_NE(message_of(allocate_fill_and_read), "") << call;
    EXPECT_EQ(cudaGetLastError(), cudaSuccess) << call;
    reset();
    EXPECT_THAT(findings(), IsEmpty()) << call;
  }
  reset({.failing_call = calls});
  EXPECT_EQ(message_of(allocate_fill_and_read), "");
}

}  // namespace
}  // namespace fake_cuda
