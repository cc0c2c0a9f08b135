// The kernels of softmax and of the cross entropies against plain loops in double.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/loss.h"
#include "ops/norm.h"
#include "runtime/cpu/kernels/kernel_tester.h"

namespace adjoint::cpu {
namespace {

double tolerance_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 1e-13;
    case DType::f32:
      return 1e-6;
    case DType::f16:
      return 1.0 / 1024;
    default:
      return 1.0 / 128;
  }
}
constexpr DType kFloats[] = {DType::f32, DType::f64, DType::bf16, DType::f16};

// Logarithms of the softmax of n numbers.
std::vector<double> naive_log_softmax(const std::vector<double>& x) {
  double largest = x[0], sum = 0;
  for (double value : x) largest = std::max(largest, value);
  for (double value : x) sum += std::exp(value - largest);
  std::vector<double> result;
  for (double value : x) result.push_back(value - largest - std::log(sum));
  return result;
}
std::vector<double> row_of(const TestTensor& x, int64_t first, int64_t n, int64_t stride) {
  std::vector<double> row;
  for (int64_t i = 0; i < n; ++i) row.push_back(x.at(first + i * stride));
  return row;
}
TestTensor logits_of(const Type& type) {
  TestTensor x = random_tensor(type, 1);
  for (int64_t i = 0; i < x.size(); ++i) x.set(i, 10 * x.at(i));
  return x;
}

TEST(Softmax, AlongAnyAxis) {
  for (DType dtype : kFloats) {
    for (const std::vector<int64_t>& dims :
         {std::vector<int64_t>{128, 10}, {1}, {37}, {3, 5, 7}, {0, 4}, {2000, 33}}) {
      for (size_t axis = 0; axis < dims.size(); ++axis) {
        Block block("test");
        const Value x = block.argument("x", {dtype, Shape::of(dims)});
        const TestTensor in = logits_of(x.type());
        const TestTensor y = run_kernel(softmax(x, axis), {in})[0];
        const TestTensor z = run_kernel(log_softmax(x, axis), {in})[0];
        int64_t stride = 1;
        for (size_t i = axis + 1; i < dims.size(); ++i) stride *= dims[i];
        const int64_t n = dims[axis];
        for (int64_t i = 0; i < y.size(); ++i) {
          if (i / stride % n != 0) continue;
          const std::vector<double> expected = naive_log_softmax(row_of(in, i, n, stride));
          for (int64_t k = 0; k < n; ++k) {
            ASSERT_NEAR(y.at(i + k * stride), std::exp(expected[k]), tolerance_of(dtype));
            ASSERT_NEAR(z.at(i + k * stride), expected[k],
                        tolerance_of(dtype) * (1 + std::abs(expected[k])));
          }
        }
      }
    }
  }
}

TEST(Softmax, SpecialValues) {
  const double inf = std::numeric_limits<double>::infinity();
  Block block("test");
  const Value x = block.argument("x", {DType::f32, {4, 3}});
  const TestTensor y = run_kernel(
      softmax(x), {TestTensor::of(DType::f32, {4, 3},
                                  {0, -inf, 0, 1000, 1000, -1000, 1, NAN, 1, inf, 0, 0})})[0];
  for (auto [index, expected] : {std::pair{0, 0.5}, {1, 0.0}, {2, 0.5}, {3, 0.5}, {5, 0.0}}) {
    EXPECT_EQ(y.at(index), expected) << index;
  }
  for (int64_t i = 6; i < 10; ++i) EXPECT_TRUE(std::isnan(y.at(i))) << i;
}

TEST(CrossEntropy, LossAndGradient) {
  for (DType dtype : kFloats) {
    for (DType label_type : {DType::i32, DType::i64, DType::u8}) {
      for (const std::vector<int64_t>& dims :
           {std::vector<int64_t>{10}, {128, 10}, {3, 4, 5}, {300, 200}, {0, 3}}) {
        const std::vector<int64_t> leading(dims.begin(), dims.end() - 1);
        Block block("test");
        const Value x = block.argument("x", {dtype, Shape::of(dims)});
        const Value labels = block.argument("labels", {label_type, Shape::of(leading)});
        const Value dloss = block.argument("dloss", {dtype, Shape::of(leading)});
        const TestTensor in = logits_of(x.type());
        const int64_t classes = dims.back();
        const TestTensor t = random_integers(labels.type(), classes, 2);
        const TestTensor d = random_tensor(dloss.type(), 3);
        const TestTensor loss = run_kernel(softmax_cross_entropy(x, labels), {in, t})[0];
        const TestTensor grad =
            run_kernel(softmax_cross_entropy_grad(dloss, x, labels), {d, in, t})[0];
        for (int64_t i = 0; i < loss.size(); ++i) {
          const std::vector<double> p = naive_log_softmax(row_of(in, i * classes, classes, 1));
          const auto label = static_cast<int64_t>(t.at(i));
          ASSERT_NEAR(loss.at(i), -p[label], tolerance_of(dtype) * (1 + std::abs(p[label])));
          for (int64_t k = 0; k < classes; ++k) {
            ASSERT_NEAR(grad.at(i * classes + k), d.at(i) * (std::exp(p[k]) - (k == label)),
                        tolerance_of(dtype));
          }
        }
      }
    }
  }
}

TEST(CrossEntropy, DenseTargets) {
  for (DType dtype : kFloats) {
    Block block("test");
    const Value x = block.argument("x", {dtype, {40, 6}});
    const Value targets = block.argument("t", {dtype, {40, 6}});
    const TestTensor in = logits_of(x.type()), t = random_tensor(x.type(), 2);
    const TestTensor loss = run_kernel(softmax_cross_entropy_dense(x, targets), {in, t})[0];
    for (int64_t i = 0; i < 40; ++i) {
      const std::vector<double> p = naive_log_softmax(row_of(in, i * 6, 6, 1));
      double expected = 0, size = 1;
      for (int64_t k = 0; k < 6; ++k) {
        expected -= t.at(i * 6 + k) * p[k];
        size += std::abs(t.at(i * 6 + k) * p[k]);
      }
      ASSERT_NEAR(loss.at(i), expected, tolerance_of(dtype) * size);
    }
  }
}

TEST(CrossEntropy, ALabelOutsideIsAnError) {
  Block block("test");
  const Value x = block.argument("x", {DType::f32, {3, 4}});
  const Value labels = block.argument("labels", {DType::u8, {3}});
  const Value loss = softmax_cross_entropy(x, labels);
  const KernelRequest request = request_of(loss);
  const KernelTable table = standard_kernels();
  EXPECT_TRUE(choose(table, request)->describe(request).fallible);
  try {
    run_kernel(loss, {random_tensor(x.type(), 1), TestTensor::of(DType::u8, {3}, {0, 3, 4})});
    FAIL() << "no error";
  } catch (const DataError& error) {
    const std::string what = error.what();
    EXPECT_EQ(what.find("softmax_cross_entropy: label 4 at position 2 is not in 0 .. 3\n"), 0u)
        << what;
  }
}

}  // namespace
}  // namespace adjoint::cpu
