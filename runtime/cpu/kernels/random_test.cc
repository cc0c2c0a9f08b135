// The kernels of the random ops: their bits are philox.h's, element by element.
#include "ops/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "ops/philox.h"
#include "runtime/cpu/kernels/kernel_tester.h"

namespace adjoint::cpu {
namespace {

constexpr int64_t kKey = 0x123456789abcdef;
// As an i64[]; written as bytes, since a double does not hold it.
TestTensor key_tensor(int64_t key = kKey) {
  TestTensor tensor({DType::i64, {}});
  *static_cast<int64_t*>(tensor.data()) = key;
  return tensor;
}

class RandomTest : public testing::TestWithParam<DType> {
 protected:
  Block block_{"test"};
  Value key_ = block_.argument("key", {DType::i64, {}});
};
INSTANTIATE_TEST_SUITE_P(Floats, RandomTest,
                         testing::Values(DType::f32, DType::f64, DType::bf16, DType::f16),
                         [](const auto& info) { return std::string(name(info.param)); });

// Element i as a 16-bit type would round it.
double rounded(DType dtype, double value) {
  std::byte bytes[8];
  store_element(dtype, value, bytes);
  return load_element(dtype, bytes);
}

TEST_P(RandomTest, EveryElementIsItsBlocks) {
  const bool wide = GetParam() == DType::f64;
  const int64_t per_block = wide ? 2 : 4;
  for (int64_t n : {0, 1, 7, 50000}) {
    const Type type{GetParam(), {Dim(n)}};
    const TestTensor u = run_kernel(uniform(key_, type, -1, 3, 5), {key_tensor()})[0];
    const TestTensor z = run_kernel(normal(key_, type, 0.5, 2, 6), {key_tensor()})[0];
    for (int64_t i = 0; i < n; ++i) {
      const philox::Words a = philox::block(kKey, 5, i / per_block);
      const philox::Words b = philox::block(kKey, 6, i / per_block);
      double expected_u, expected_z;
      if (wide) {
        double out[2], normals[2];
        philox::uniform_block(a, -1.0, 3.0, out);
        philox::normal_block(b, 0.5, 2.0, normals);
        expected_u = out[i % 2], expected_z = normals[i % 2];
      } else {
        float out[4], normals[4];
        philox::uniform_block(a, -1.0f, 3.0f, out);
        philox::normal_block(b, 0.5f, 2.0f, normals);
        expected_u = out[i % 4], expected_z = normals[i % 4];
      }
      ASSERT_EQ(u.at(i), rounded(GetParam(), expected_u)) << i;
      ASSERT_EQ(z.at(i), rounded(GetParam(), expected_z)) << i;
    }
  }
}

TEST_P(RandomTest, DropoutKeepsWhatBernoulliSays) {
  const Value x = block_.argument("x", {GetParam(), {123, 45}});
  const TestTensor in = random_tensor(x.type(), 1);
  const TestTensor y = run_kernel(dropout(x, key_, 0.25, 9), {in, key_tensor()})[0];
  const TestTensor kept = run_kernel(bernoulli(key_, x.shape(), 0.75, 9), {key_tensor()})[0];
  int64_t count = 0;
  for (int64_t i = 0; i < y.size(); ++i) {
    const double scale = rounded(GetParam(), 1 / 0.75);
    EXPECT_EQ(kept.at(i), philox::block(kKey, 9, i / 4).w[i % 4] < 0xc0000000u);
    ASSERT_EQ(y.at(i), kept.at(i) != 0 ? rounded(GetParam(), in.at(i) * scale) : 0.0) << i;
    count += kept.at(i) != 0;
  }
  EXPECT_NEAR(count / 5535.0, 0.75, 0.03);
}

TEST(Random, FoldIn) {
  Block block("test");
  const Value key = block.argument("key", {DType::i64, {}});
  const TestTensor y = run_kernel(fold_in(key, key), {key_tensor(), key_tensor(77)})[0];
  EXPECT_EQ(*static_cast<const int64_t*>(y.data()),
            static_cast<int64_t>(philox::fold_in(kKey, 77)));
}

TEST(Random, PermuteIndexIsAPermutation) {
  for (int64_t n : {1, 2, 3, 1000, 4097}) {
    Block block("test");
    const Value key = block.argument("key", {DType::i64, {}});
    const Value index = block.argument("i", {DType::i64, {Dim(n)}});
    TestTensor all({DType::i64, {n}});
    for (int64_t i = 0; i < n; ++i) all.set(i, n - 1 - i);
    const TestTensor y = run_kernel(permute_index(key, index, n), {key_tensor(), all})[0];
    std::set<int64_t> seen;
    for (int64_t i = 0; i < n; ++i) {
      seen.insert(y.at(i));
      EXPECT_EQ(y.at(i), philox::permute_index(kKey, n - 1 - i, n));
    }
    EXPECT_EQ(static_cast<int64_t>(seen.size()), n);
    EXPECT_EQ(*seen.rbegin(), n - 1);
  }
}

TEST(Random, PermuteIndexChecksItsIndices) {
  Block block("test");
  const Value key = block.argument("key", {DType::i64, {}});
  const Value index = block.argument("i", {DType::i64, {2}});
  EXPECT_THROW(run_kernel(permute_index(key, index, 10),
                          {key_tensor(), TestTensor::of(DType::i64, {2}, {9, 10})}),
               DataError);
}

}  // namespace
}  // namespace adjoint::cpu
