// The products of device/mma.h against plain ones.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "runtime/cuda/device/warp_product.h"

namespace adjoint::cuda {
namespace {

void store(double value, float& to) { to = static_cast<float>(value); }
void store(double value, Bf16& to) { to = to_bf16(static_cast<float>(value)); }

template <typename T>
class Mma : public testing::Test {
 protected:
  static constexpr int kDepth = 32 / sizeof(T), kRows = 32, kColumns = 24;
  std::vector<double> a = std::vector<double>(kRows * kDepth),
                      b = std::vector<double>(kColumns * kDepth);
  std::vector<double> sums = std::vector<double>(kRows * kColumns);

  std::vector<double> product() const {
    const Stream stream;
    std::vector<float> result(sums.begin(), sums.end());
    const DeviceMemory device_a = upload<T>(a, stream), device_b = upload<T>(b, stream);
    const DeviceMemory device_sums = upload<float>(sums, stream);
    warp_product(static_cast<const T*>(device_a.data()), static_cast<const T*>(device_b.data()),
                 static_cast<float*>(device_sums.data()), stream.get());
    copy_async(result.data(), device_sums.data(), device_sums.bytes(), stream.get());
    stream.synchronize();
    return {result.begin(), result.end()};
  }
  double expected(int row, int column) const {
    double sum = sums[row * kColumns + column];
    for (int k = 0; k < kDepth; ++k) sum += a[row * kDepth + k] * b[column * kDepth + k];
    return sum;
  }

 private:
  template <typename U>
  static DeviceMemory upload(const std::vector<double>& values, const Stream& stream) {
    std::vector<U> elements(values.size());
    for (size_t i = 0; i < values.size(); ++i) store(values[i], elements[i]);
    DeviceMemory memory(elements.size() * sizeof(U));
    copy_async(memory.data(), elements.data(), memory.bytes(), stream.get());
    stream.synchronize();
    return memory;
  }
};
using Elements = testing::Types<float, Bf16>;
TYPED_TEST_SUITE(Mma, Elements);

TYPED_TEST(Mma, ProductsOfSmallIntegersAreExact) {
  std::mt19937 generator(1);
  std::uniform_int_distribution<int> integers(-128, 128);
  for (double& value : this->a) value = integers(generator);
  for (double& value : this->b) value = integers(generator);
  for (size_t i = 0; i < this->sums.size(); ++i) this->sums[i] = 1000.0 * static_cast<double>(i);
  const std::vector<double> got = this->product();
  for (int i = 0; i < TestFixture::kRows * TestFixture::kColumns; ++i) {
    EXPECT_EQ(got[i], this->expected(i / TestFixture::kColumns, i % TestFixture::kColumns)) << i;
  }
}

TYPED_TEST(Mma, PairsOfPlacesMeet) {
  for (int k = 0; k < TestFixture::kDepth; ++k) {
    this->a.assign(this->a.size(), 0);
    this->b.assign(this->b.size(), 0);
    for (int row = 0; row < TestFixture::kRows; ++row) {
      this->a[row * TestFixture::kDepth + k] = row + 1;
    }
    for (int column = 0; column < TestFixture::kColumns; ++column) {
      this->b[column * TestFixture::kDepth + k] = 8 * column + 1;
    }
    const std::vector<double> got = this->product();
    for (int i = 0; i < TestFixture::kRows * TestFixture::kColumns; ++i) {
      EXPECT_EQ(got[i], this->expected(i / TestFixture::kColumns, i % TestFixture::kColumns)) << k;
    }
  }
}

TYPED_TEST(Mma, ANaNStaysInItsRow) {
  this->b.assign(this->b.size(), 1);
  this->a[5 * TestFixture::kDepth + 3] = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> got = this->product();
  for (int i = 0; i < TestFixture::kRows * TestFixture::kColumns; ++i) {
    EXPECT_EQ(std::isnan(got[i]), i / TestFixture::kColumns == 5) << i;
  }
}

using MmaOfFloats = Mma<float>;
TEST_F(MmaOfFloats, RoundsToTheNearestAndTiesAway) {
  const double ulp = std::ldexp(1, -10);
  const double values[] = {1 + 0.49 * ulp, 1 + 0.5 * ulp, 1 + 1.5 * ulp, -1 - 0.5 * ulp,
                           std::numeric_limits<double>::infinity()};
  const double rounded[] = {1, 1 + ulp, 1 + 2 * ulp, -1 - ulp, values[4]};
  for (int i = 0; i < 5; ++i) a[i * kDepth] = values[i];
  for (int column = 0; column < kColumns; ++column) b[column * kDepth] = 1;
  const std::vector<double> got = product();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(got[i * kColumns], rounded[i]) << values[i];
}

}  // namespace
}  // namespace adjoint::cuda
