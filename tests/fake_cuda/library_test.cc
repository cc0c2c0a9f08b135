// Generated kernels on the test double.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>

#include "graph/error.h"
#include "runtime/cuda/api/launch.h"
#include "tests/fake_cuda/device_array.h"
#include "tests/fake_cuda/fake_cuda.h"

namespace fake_cuda {
namespace {

using adjoint::DeviceError;
using adjoint::cuda::launch;
using adjoint::cuda::Library;
using adjoint::cuda::Stream;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<char> code(std::string_view text) {
  std::vector<char> bytes(text.begin(), text.end());
  bytes.push_back('\0');
  return bytes;
}

const std::string_view kScale = "fake-cubin:tests/fake_cuda/libgenerated_scale.so";

struct Pointers {
  float* x;
  float factor;
};

class LibraryTest : public testing::Test {
 protected:
  void SetUp() override { reset(); }
};

void scale(const Library& library, const Stream& stream, const DeviceArray<float>& x, int threads) {
  Pointers pointers = {x.data(), 2};
  void* arguments[] = {&pointers};
  launch("scale.3", library.kernel("scale"), {.block = dim3(threads)}, stream.get(), arguments);
  pointers = {};  // a launch has its own copy
}

TEST_F(LibraryTest, GeneratedKernelRuns) {
  const Stream stream;
  const Library library(code(kScale));
  const DeviceArray<float> x({1, 2, 3});
  scale(library, stream, x, 3);
  EXPECT_THAT(x.read(stream), ElementsAre(2, 5, 6));
  EXPECT_EQ(launches(), (std::map<std::string, int64_t>{{"scale.3", 1}}));
  EXPECT_EQ(library.kernel("scale"), library.kernel("scale"));
  EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(LibraryTest, GeneratedKernelsHaveTheSameLimits) {
  const Stream stream;
  const Library library(code(kScale));
  const DeviceArray<float> x({1});
  EXPECT_THROW(scale(library, stream, x, 1025), DeviceError);
  EXPECT_THROW(scale(library, stream, x, 0), DeviceError);
}

TEST_F(LibraryTest, WhatIsNotThereIsAnError) {
  const Library library(code(kScale));
  EXPECT_THROW(library.kernel("other"), DeviceError);
  EXPECT_THROW(Library{code("ELF")}, DeviceError);
  EXPECT_THAT(findings(), IsEmpty());
  EXPECT_THROW(Library{code("fake-cubin:/nowhere.so")}, DeviceError);
  EXPECT_THAT(findings(), ElementsAre(HasSubstr("/nowhere.so")));
}

TEST_F(LibraryTest, KernelOfAnUnloadedLibraryIsFound) {
  const Stream stream;
  const DeviceArray<float> x({1, 2, 3});
  {
    const Library library(code(kScale));
    scale(library, stream, x, 3);
  }
  EXPECT_THAT(x.read(stream), ElementsAre(1, 2, 3));
  EXPECT_THAT(findings(), ElementsAre("kernel of an unloaded library runs"));
}

TEST_F(LibraryTest, HandlesEndWithTheirLibrary) {
  const Stream stream;
  const DeviceArray<float> x({1});
  cudaKernel_t kernel = nullptr;
  {
    const Library library(code(kScale));
    kernel = library.kernel("scale");
  }
  EXPECT_THROW(launch("scale", kernel, {}, stream.get(), nullptr), DeviceError);
}

}  // namespace
}  // namespace fake_cuda
