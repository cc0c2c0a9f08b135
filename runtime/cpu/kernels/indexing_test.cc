// The kernels of the indexing ops against plain loops, and their errors.
#include "ops/indexing.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/cpu/kernels/kernel_tester.h"

namespace adjoint::cpu {
namespace {

int64_t product(const std::vector<int64_t>& dims, size_t begin, size_t end) {
  int64_t result = 1;
  for (size_t i = begin; i < end; ++i) result *= dims[i];
  return result;
}

struct Case {
  std::vector<int64_t> data;
  std::vector<int64_t> indices;
  int64_t axis;
};
const Case kCases[] = {{{10}, {4}, 0},          {{9}, {3, 2}, 0},       {{50, 784}, {128}, 0},
                       {{4, 7, 5}, {6}, 1},     {{4, 7, 1}, {2, 3}, 1}, {{3, 8}, {5}, 1},
                       {{6, 200, 3}, {100}, 1}, {{4, 5}, {0}, 0},       {{5, 2}, {}, 0}};

TEST(Gather, TakesRows) {
  for (DType dtype : kAllDTypes) {
    for (DType index_type : {DType::i32, DType::i64, DType::u8}) {
      for (const Case& c : kCases) {
        Block block("test");
        const Value data = block.argument("data", {dtype, Shape::of(c.data)});
        const Value indices = block.argument("indices", {index_type, Shape::of(c.indices)});
        const TestTensor x = random_tensor(data.type(), 1);
        const TestTensor at = random_integers(indices.type(), c.data[c.axis], 2);
        const TestTensor y = run_kernel(gather(data, indices, c.axis), {x, at})[0];
        const int64_t inner = product(c.data, c.axis + 1, c.data.size());
        for (int64_t i = 0; i < y.size(); ++i) {
          const int64_t place = i / inner % at.size(), outer = i / inner / at.size();
          const int64_t row = outer * c.data[c.axis] + static_cast<int64_t>(at.at(place));
          ASSERT_EQ(y.at(i), x.at(row * inner + i % inner));
        }
      }
    }
  }
}

TEST(ScatterAdd, AddsRows) {
  for (DType dtype :
       {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::i64, DType::u8}) {
    for (const Case& c : kCases) {
      Block block("test");
      const Value data = block.argument("data", {dtype, Shape::of(c.data)});
      const Value indices = block.argument("indices", {DType::i64, Shape::of(c.indices)});
      const Value rows = gather(data, indices, c.axis);
      const Value updates = block.argument("updates", rows.type());
      const TestTensor x = random_tensor(data.type(), 1);
      const TestTensor at = random_integers(indices.type(), c.data[c.axis], 2);
      const TestTensor dy = random_tensor(updates.type(), 3);
      const TestTensor y = run_kernel(scatter_add(data, indices, updates, c.axis), {x, at, dy})[0];
      std::vector<double> expected(x.size());
      for (int64_t i = 0; i < x.size(); ++i) expected[i] = x.at(i);
      const int64_t inner = product(c.data, c.axis + 1, c.data.size());
      for (int64_t i = 0; i < dy.size(); ++i) {
        const int64_t place = i / inner % at.size(), outer = i / inner / at.size();
        const int64_t row = outer * c.data[c.axis] + static_cast<int64_t>(at.at(place));
        expected[row * inner + i % inner] += dy.at(i);
      }
      const double tolerance = dtype == DType::f64    ? 1e-13
                               : dtype == DType::f32  ? 1e-6
                               : dtype == DType::f16  ? 1.0 / 2048
                               : dtype == DType::bf16 ? 1.0 / 256
                                                      : 0;
      for (int64_t i = 0; i < y.size(); ++i) {
        ASSERT_NEAR(y.at(i), expected[i], tolerance * (1 + std::abs(expected[i])));
      }
    }
  }
}

TEST(ScatterAdd, IntegersWrapAround) {
  Block block("test");
  const Value x = block.argument("x", {DType::i32, {1}});
  const Value i = block.argument("i", {DType::i64, {2}});
  const Value u = block.argument("u", {DType::i32, {2}});
  const TestTensor y =
      run_kernel(scatter_add(x, i, u), {TestTensor::of(DType::i32, {1}, {2147483647}),
                                        TestTensor::of(DType::i64, {2}, {0, 0}),
                                        TestTensor::of(DType::i32, {2}, {1, 0})})[0];
  EXPECT_EQ(y.at(0), -2147483648.0);
}

// The message of the DataError that the kernel throws.
std::string error_of(Value y, const std::vector<TestTensor>& operands) {
  try {
    run_kernel(y, operands);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Indexing, AnIndexOutsideIsAnError) {
  Block block("test");
  const Value x = block.argument("x", {DType::f32, {3, 2}});
  const Value i = block.argument("i", {DType::i64, {2}});
  const Value u = block.argument("u", {DType::f32, {2, 2}});
  const Value taken = gather(x, i);
  const Value added = scatter_add(x, i, u);
  for (double bad : {-1.0, 3.0}) {
    const TestTensor at = TestTensor::of(DType::i64, {2}, {0, bad});
    const std::string what =
        "index " + std::to_string(static_cast<int>(bad)) + " at position 1 is not in 0 .. 2\n";
    const std::string got = error_of(taken, {random_tensor(x.type(), 1), at});
    EXPECT_EQ(got.find("gather: " + what), 0u) << got;
    EXPECT_NE(got.find("indexing_test.cc:"), std::string::npos) << got;
    const std::string other =
        error_of(added, {random_tensor(x.type(), 1), at, random_tensor(u.type(), 2)});
    EXPECT_EQ(other.find("scatter_add: " + what), 0u) << other;
  }
}

TEST(OneHot, RowsOfZerosOutside) {
  for (DType dtype : kAllDTypes) {
    Block block("test");
    const Value i = block.argument("i", {DType::i32, {2, 3}});
    const TestTensor at = TestTensor::of(DType::i32, {2, 3}, {0, 3, -1, 4, 2, 2});
    const TestTensor y = run_kernel(one_hot(i, 4, dtype), {at})[0];
    for (int64_t k = 0; k < y.size(); ++k) EXPECT_EQ(y.at(k), at.at(k / 4) == k % 4) << k;
  }
}

TEST(Iota, CountsAlongTheAxis) {
  for (DType dtype :
       {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::i64, DType::u8}) {
    for (int64_t axis : {0, 1, 2}) {
      Block block("test");
      const TestTensor y = run_kernel(iota(block, {3, 5, 4}, axis, dtype), {})[0];
      const int64_t strides[] = {20, 4, 1}, sizes[] = {3, 5, 4};
      for (int64_t i = 0; i < y.size(); ++i) {
        EXPECT_EQ(y.at(i), i / strides[axis] % sizes[axis]) << i;
      }
    }
  }
}

TEST(DynamicSlice, MovesTheWindowToWhereItFits) {
  for (DType dtype : kAllDTypes) {
    for (double row : {-3.0, 0.0, 2.0, 3.0, 9.0}) {
      Block block("test");
      const Value x = block.argument("x", {dtype, {5, 6}});
      const Value i = block.argument("i", {DType::i64, {}});
      const Value j = block.argument("j", {DType::i64, {}});
      const Value u = block.argument("u", {dtype, {2, 3}});
      const TestTensor in = random_tensor(x.type(), 1), update = random_tensor(u.type(), 2);
      const TestTensor at = TestTensor::of(DType::i64, {}, {row});
      const TestTensor column = TestTensor::of(DType::i64, {}, {1});
      const TestTensor part = run_kernel(dynamic_slice(x, {i, j}, {2, 3}), {in, at, column})[0];
      const TestTensor whole =
          run_kernel(dynamic_update_slice(x, u, {i, j}), {in, update, at, column})[0];
      const auto first = static_cast<int64_t>(std::clamp(row, 0.0, 3.0));
      for (int64_t k = 0; k < 6; ++k) {
        EXPECT_EQ(part.at(k), in.at((first + k / 3) * 6 + 1 + k % 3));
      }
      for (int64_t k = 0; k < 30; ++k) {
        const int64_t r = k / 6 - first, c = k % 6 - 1;
        const bool inside = r >= 0 && r < 2 && c >= 0 && c < 3;
        EXPECT_EQ(whole.at(k), inside ? update.at(r * 3 + c) : in.at(k));
      }
    }
  }
}

}  // namespace
}  // namespace adjoint::cpu
