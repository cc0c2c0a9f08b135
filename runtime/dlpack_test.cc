#include "runtime/dlpack.h"

#include <gtest/gtest.h>

#include "graph/error.h"

namespace adjoint {
namespace {

using dlpack::DLManagedTensor;

TEST(DLPack, RoundTripSharesMemory) {
  for (DType dtype : kAllDTypes) {
    const Tensor tensor = Tensor::of(Literal::filled(dtype, {2, 3}, 1));
    const Tensor back = from_dlpack(to_dlpack(tensor));
    EXPECT_EQ(back.data(), tensor.data());
    EXPECT_EQ(back.type(), tensor.type());
    EXPECT_EQ(back.strides(), tensor.strides());
  }
}

TEST(DLPack, MemoryLivesAsLongAsTheOtherSideKeepsIt) {
  float memory[6] = {1, 2, 3, 4, 5, 6};
  int released = 0;
  Tensor tensor = Tensor::wrap(memory, {DType::f32, {3, 2}},
                               {.strides = {1, 3}, .release = [&] { ++released; }});
  DLManagedTensor* managed = to_dlpack(tensor);
  tensor = Tensor();
  EXPECT_EQ(managed->dl_tensor.strides[1], 3);
  EXPECT_EQ(managed->dl_tensor.device.device_type, 1);
  EXPECT_EQ(released, 0);
  Tensor back = from_dlpack(managed);
  EXPECT_FALSE(back.is_contiguous());
  EXPECT_EQ(released, 0);
  back = Tensor();
  EXPECT_EQ(released, 1);
}

TEST(DLPack, OffsetsAndMissingStrides) {
  float memory[6] = {1, 2, 3, 4, 5, 6};
  int64_t shape[] = {2, 2};
  DLManagedTensor managed{{memory, {1, 0}, 2, {2, 32, 1}, shape, nullptr, 8}, nullptr, nullptr};
  EXPECT_EQ(from_dlpack(&managed).values<float>()[3], 6);
}

TEST(DLPack, RefusesWhatTensorsAreNot) {
  float memory[6] = {};
  int64_t shape[] = {2, 2};
  const DLManagedTensor good{{memory, {1, 0}, 2, {2, 32, 1}, shape, nullptr, 0},
                             nullptr,
                             [](DLManagedTensor*) { FAIL() << "taken over"; }};
  const auto refused = [&](auto change) {
    DLManagedTensor bad = good;
    change(bad.dl_tensor);
    EXPECT_THROW(from_dlpack(&bad), GraphError);
  };
  refused([](auto& t) { t.dtype.lanes = 4; });
  refused([](auto& t) { t.dtype.bits = 8; });
  refused([](auto& t) { t.device.device_type = 7; });
  refused([](auto& t) { t.ndim = 9; });
  refused([](auto& t) { t.ndim = -1; });
  refused([](auto& t) { t.shape[0] = -2; });
}

}  // namespace
}  // namespace adjoint
