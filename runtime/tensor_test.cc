#include "runtime/tensor.h"

#include <gtest/gtest.h>

#include <numeric>

#include "graph/error.h"

namespace adjoint {
namespace {

bool aligned(const Tensor& tensor) {
  return reinterpret_cast<uintptr_t>(tensor.data()) % kTensorAlignment == 0;
}

TEST(Tensor, HoldsValues) {
  const Tensor t = Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_TRUE(aligned(t));
  EXPECT_EQ(to_text(t.type()), "f32[2,3]");
  EXPECT_EQ(t.strides(), (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(t.byte_count(), 24u);
  EXPECT_EQ(t.values<float>()[4], 5);
  const Tensor same = t;
  same.values<float>()[4] = 50;
  EXPECT_EQ(t.values<float>()[4], 50);
}

TEST(Tensor, RoundTripsLiterals) {
  const Literal literal = Literal::of<int64_t>({3}, {1, -2, 3});
  EXPECT_EQ(Tensor::of(literal).to_literal(), literal);
  EXPECT_EQ(Tensor::of(Literal::scalar(DType::bf16, 1.5)).to_literal(),
            Literal::scalar(DType::bf16, 1.5));
}

TEST(Tensor, EmptyAndScalar) {
  EXPECT_FALSE(Tensor());
  EXPECT_EQ(Tensor::zeros({DType::f32, {0, 5}}).values<float>().size(), 0u);
  EXPECT_EQ(Tensor::zeros({DType::i64, {}}).item<int64_t>(), 0);
  EXPECT_EQ(Tensor::zeros({DType::f32, {2, 0}}).to_literal().byte_count(), 0u);
}

TEST(Tensor, WrapsTheCallersMemory) {
  std::vector<float> memory = {1, 2, 3, 4, 5, 6, 7};
  int released = 0;
  {
    Tensor t =
        Tensor::wrap(memory.data() + 1, {DType::f32, {2, 3}}, {.release = [&] { ++released; }});
    const Tensor other = t;
    t = Tensor();
    EXPECT_EQ(released, 0);
    EXPECT_EQ(other.values<float>()[0], 2);
    EXPECT_FALSE(aligned(other));
    EXPECT_TRUE(aligned(other.aligned()));
    EXPECT_EQ(other.aligned().values<float>()[5], 7);
  }
  EXPECT_EQ(released, 1);
}

TEST(Tensor, Strides) {
  std::vector<int32_t> memory(12);
  std::iota(memory.begin(), memory.end(), 0);
  // The transpose of [3,4].
  const Tensor t = Tensor::wrap(memory.data(), {DType::i32, {4, 3}}, {.strides = {1, 4}});
  EXPECT_FALSE(t.is_contiguous());
  EXPECT_THROW(t.values<int32_t>(), GraphError);
  const Tensor packed = t.aligned();
  EXPECT_EQ(packed.values<int32_t>()[1], 4);
  EXPECT_EQ(packed.values<int32_t>()[11], 11);
  const Tensor back = Tensor::zeros({DType::i32, {4, 3}});
  copy_elements(t, back);
  EXPECT_EQ(back.to_literal(), t.to_literal());
  std::vector<int32_t> target(12);
  const Tensor strided = Tensor::wrap(target.data(), {DType::i32, {4, 3}}, {.strides = {1, 4}});
  copy_elements(packed, strided);
  EXPECT_EQ(target, memory);
  // Strides along dimensions of size 1 say nothing.
  EXPECT_TRUE(
      Tensor::wrap(memory.data(), {DType::i32, {1, 12}}, {.strides = {99, 1}}).is_contiguous());
}

TEST(Tensor, Errors) {
  const Tensor t = Tensor::zeros({DType::f32, {2}});
  EXPECT_THROW(t.values<double>(), GraphError);
  EXPECT_THROW(t.item<float>(), GraphError);
  EXPECT_THROW(Tensor().values<float>(), GraphError);
  EXPECT_THROW(Tensor().item<float>(), GraphError);
  EXPECT_THROW(Tensor::zeros({DType::f32, {-1}}), GraphError);
  EXPECT_THROW(Tensor::zeros({DType::f64, {int64_t{1} << 61}}), GraphError);
  EXPECT_THROW(Tensor::zeros({DType::f32, {int64_t{1} << 40, int64_t{1} << 40}}), GraphError);
  EXPECT_THROW(Tensor::wrap(nullptr, {DType::f32, {1}}), GraphError);
  float x = 0;
  EXPECT_THROW(Tensor::wrap(&x, {DType::f32, {1}}, {.strides = {1, 1}}), GraphError);
  EXPECT_THROW(copy_elements(t, Tensor::zeros({DType::f32, {3}})), GraphError);
  EXPECT_THROW(Tensor::of<float>({3}, {1, 2}), GraphError);
  const Tensor away = Tensor::wrap(&x, {DType::f32, {1}}, {.device = {DeviceKind::cuda, 1}});
  EXPECT_THROW(away.values<float>(), GraphError);
  EXPECT_THROW(away.to_literal(), GraphError);
  EXPECT_EQ(to_text(away.device()), "cuda:1");
}

}  // namespace
}  // namespace adjoint
