// matmul's kernels against plain loops in double.
#include <gtest/gtest.h>

#include <cmath>

#include "ops/linalg.h"
#include "runtime/cpu/kernels/kernel_tester.h"

namespace adjoint::cpu {
namespace {

struct Case {
  std::vector<int64_t> a;
  std::vector<int64_t> b;
  MatmulAttributes attributes = {};
};

// Where element `index` of `dims` (row-major) lies in an operand that broadcasts to it.
int64_t broadcast_index(int64_t index, const std::vector<int64_t>& dims,
                        const std::vector<int64_t>& own) {
  int64_t result = 0;
  int64_t stride = 1;
  for (size_t i = 0; i < dims.size(); ++i) {
    const int64_t place = index % dims[dims.size() - 1 - i];
    index /= dims[dims.size() - 1 - i];
    if (i >= own.size()) continue;
    const int64_t size = own[own.size() - 1 - i];
    if (size != 1) result += place * stride;
    stride *= size;
  }
  return result;
}

std::vector<int64_t> leading(const std::vector<int64_t>& dims) {
  return {dims.begin(), dims.end() - 2};
}

std::vector<double> naive_matmul(const Case& c, const TestTensor& a, const TestTensor& b,
                                 const std::vector<int64_t>& out) {
  const auto [ta, tb, accumulate] = c.attributes;
  const int64_t m = out[out.size() - 2], n = out.back();
  const int64_t k = ta ? c.a[c.a.size() - 2] : c.a.back();
  int64_t count = 1;
  for (int64_t dim : leading(out)) count *= dim;
  std::vector<double> result;
  for (int64_t batch = 0; batch < count; ++batch) {
    const int64_t a0 = broadcast_index(batch, leading(out), leading(c.a)) * m * k;
    const int64_t b0 = broadcast_index(batch, leading(out), leading(c.b)) * k * n;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t l = 0; l < k; ++l) {
          sum += a.at(a0 + (ta ? l * m + i : i * k + l)) * b.at(b0 + (tb ? j * k + l : l * n + j));
        }
        result.push_back(sum);
      }
    }
  }
  return result;
}

void check(const Case& c, DType dtype, double tolerance) {
  Block block("test");
  const Value a = block.argument("a", {dtype, Shape::of(c.a)});
  const Value b = block.argument("b", {dtype, Shape::of(c.b)});
  const Value y = matmul(a, b, c.attributes);
  const TestTensor ta = random_tensor(a.type(), 1), tb = random_tensor(b.type(), 2);
  const std::vector<double> expected = naive_matmul(c, ta, tb, y.shape().static_dims());
  for (std::string_view kernel : kernels_for(y)) {
    SCOPED_TRACE(to_text(a.type()) + " x " + to_text(b.type()) + " " + std::string(kernel));
    const TestTensor result = run_kernel(y, {ta, tb}, kernel)[0];
    ASSERT_EQ(result.size(), std::ssize(expected));
    for (int64_t i = 0; i < result.size(); ++i) {
      ASSERT_NEAR(result.at(i), expected[i], tolerance * (1 + std::abs(expected[i]))) << i;
    }
  }
}

const Case kCases[] = {
    {{1, 1}, {1, 1}},
    {{5, 3}, {3, 7}},
    {{13, 31}, {31, 49}},
    {{96, 70}, {70, 10}},
    {{130, 1000}, {1000, 97}},
    {{3, 0}, {0, 2}},
    {{0, 3}, {3, 2}},
    {{3, 4}, {4, 0}},
    {{31, 13}, {31, 50}, {.transpose_a = true}},
    {{200, 9}, {200, 16}, {.transpose_a = true}},
    {{13, 37}, {65, 37}, {.transpose_b = true}},
    {{128, 512}, {100, 512}, {.transpose_b = true}},
    {{37, 13}, {65, 37}, {.transpose_a = true, .transpose_b = true}},
    {{4, 6, 5}, {5, 9}},
    {{1, 4, 6, 5}, {1, 5, 9}},
    {{3, 4, 6, 5}, {4, 5, 9}},
    {{4, 1, 6, 5}, {3, 5, 9}},
    {{6, 5}, {2, 3, 5, 4}},
    {{2, 5, 6}, {2, 9, 5}, {.transpose_a = true, .transpose_b = true}},
};

TEST(Matmul, AgreesWithPlainLoops) {
  for (const Case& c : kCases) {
    check(c, DType::f32, 3e-5);
    check(c, DType::f64, 1e-12);
  }
}

TEST(Matmul, AddsInFloatWhatIsStoredIn16Bits) {
  for (const Case& c : kCases) {
    check(c, DType::bf16, 1.0 / 256);  // half a unit in the last place of the result
    check(c, DType::f16, 1.0 / 2048);
  }
}

TEST(Matmul, AddsInDoubleOnDemand) {
  Case c{{2, 4000}, {4000, 3}};
  c.attributes.accumulate = DType::f64;
  check(c, DType::f32, 1.2e-7);  // one rounding
}

TEST(Matmul, HasTwoProviders) {
  for (auto [dtype, second] :
       {std::pair{DType::f32, "onednn.matmul"}, {DType::f64, "eigen.matmul"}}) {
    Block block("test");
    const Value a = block.argument("a", {dtype, {30, 40}});
    const Value b = block.argument("b", {dtype, {40, 50}});
    const std::vector<std::string_view> expected = {"adjoint.matmul", second};
    EXPECT_EQ(kernels_for(matmul(a, b)), expected);
  }
}

}  // namespace
}  // namespace adjoint::cpu
