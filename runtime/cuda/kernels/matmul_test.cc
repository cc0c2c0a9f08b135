// matmul's kernels against plain loops in double.
#include <cmath>

#include "ops/elementwise.h"
#include "ops/linalg.h"
#include "ops/region.h"
#include "runtime/cuda/kernels/library_tester.h"

namespace adjoint::cuda {
namespace {

using Dims = std::vector<int64_t>;

struct Case {
  Dims a;
  Dims b;
  MatmulAttributes attributes = {};
};

// Which matrix of an operand belongs to the result's matrix `index`.
int64_t operand_matrix(int64_t index, const Dims& result, const Dims& operand) {
  int64_t matrix = 0, stride = 1;
  for (size_t i = 3; i <= result.size(); ++i) {
    const int64_t place = index % result[result.size() - i];
    index /= result[result.size() - i];
    if (i > operand.size()) continue;
    const int64_t size = operand[operand.size() - i];
    matrix += (size == 1 ? 0 : place) * stride;
    stride *= size;
  }
  return matrix;
}

std::vector<double> naive(const Case& c, const std::vector<double>& a, const std::vector<double>& b,
                          const Dims& result) {
  const int64_t m = result[result.size() - 2], n = result.back();
  const bool ta = c.attributes.transpose_a, tb = c.attributes.transpose_b;
  const int64_t k = ta ? c.a[c.a.size() - 2] : c.a.back();
  int64_t count = 1;
  for (size_t i = 0; i + 2 < result.size(); ++i) count *= result[i];
  std::vector<double> sums;
  for (int64_t matrix = 0; matrix < count; ++matrix) {
    const int64_t a0 = operand_matrix(matrix, result, c.a) * m * k;
    const int64_t b0 = operand_matrix(matrix, result, c.b) * k * n;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t l = 0; l < k; ++l) {
          sum += a[a0 + (ta ? l * m + i : i * k + l)] * b[b0 + (tb ? j * k + l : l * n + j)];
        }
        sums.push_back(sum);
      }
    }
  }
  return sums;
}

class Matmul : public testing::Test {
 protected:
#ifdef ADJOINT_FAKE_CUDA
  Matmul() { fake_cuda::reset(); }
#endif
  void TearDown() override { EXPECT_THAT(findings(), testing::IsEmpty()); }

  static void check(LibraryTester& tester, const Case& c, DType dtype, double tolerance,
                    size_t kernel_count) {
    Block block("test");
    const Value a = block.argument("a", {dtype, Shape::of(c.a)});
    const Value b = block.argument("b", {dtype, Shape::of(c.b)});
    const Value y = matmul(a, b, c.attributes);
    const std::vector<double> va = random_values(a.type(), 1), vb = random_values(b.type(), 2);
    const std::vector<double> want = naive(c, va, vb, y.shape().static_dims());
    const auto kernels = kernels_for(matmul_kernels(), y);
    EXPECT_EQ(kernels.size(), kernel_count);
    for (const KernelDef* kernel : kernels) {
      for (const std::string& variant : tester.variants(*kernel, y)) {
        SCOPED_TRACE(to_text(a.type()) + " x " + to_text(b.type()) + " " +
                     std::string(kernel->name) + "#" + variant);
        const std::vector<double> got = tester.run(*kernel, y, {va, vb}, variant);
        ASSERT_EQ(got.size(), want.size());
        for (size_t i = 0; i < got.size(); ++i) {
          ASSERT_NEAR(got[i], want[i], tolerance * (1 + std::abs(want[i]))) << i;
        }
      }
    }
  }
};

std::vector<Case> cases() {
  std::vector<Case> all = {
      {{3, 0}, {0, 2}},
      {{0, 3}, {3, 2}},
      {{3, 4}, {4, 0}},
      {{0, 3, 4}, {4, 5}},
      {{2, 3, 0}, {2, 0, 5}},
      {{4, 6, 5}, {5, 9}},
      {{1, 4, 6, 5}, {1, 5, 9}},
      {{3, 4, 6, 5}, {4, 5, 9}},
      {{4, 1, 6, 5}, {3, 5, 9}},
      {{3, 1, 2, 6, 5}, {1, 4, 2, 5, 7}},
      {{6, 5}, {2, 3, 5, 4}},
      {{2, 5, 6}, {5, 9}, {.transpose_a = true}},
      {{2, 2, 5, 6}, {2, 1, 9, 5}, {.transpose_a = true, .transpose_b = true}},
  };
  const Dims sizes[] = {{1, 1, 1},    {1, 7, 3},    {5, 1, 3},    {31, 33, 32},
                        {33, 32, 31}, {32, 31, 33}, {64, 10, 96}, {2, 100, 17}};
  for (const Dims& s : sizes) {
    for (bool ta : {false, true}) {
      for (bool tb : {false, true}) {
        all.push_back({ta ? Dims{s[2], s[0]} : Dims{s[0], s[2]},
                       tb ? Dims{s[1], s[2]} : Dims{s[2], s[1]},
                       {.transpose_a = ta, .transpose_b = tb}});
      }
    }
  }
  return all;
}

TEST_F(Matmul, AgreesWithPlainLoops) {
  LibraryTester tester;
  for (const Case& c : cases()) {
    check(tester, c, DType::f32, 1e-5, 2);
    check(tester, c, DType::f64, 1e-13, 2);
    check(tester, c, DType::bf16, 1.0 / 256, 2);  // half a unit in the last place
    check(tester, c, DType::f16, 1.0 / 2048, 2);
  }
}

TEST_F(Matmul, AddsInDoubleOnDemand) {
  LibraryTester tester;
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    Case c{{2, 400}, {400, 3}};
    c.attributes.accumulate = DType::f64;
    const double rounding = dtype == DType::f32 ? 6e-8 : dtype == DType::f16 ? 5e-4 : 4e-3;
    check(tester, c, dtype, rounding, 1);
  }
}

// The region that matmul_bias makes: for one product with 32 or 64 bits.
TEST_F(Matmul, AddsABias) {
  LibraryTester tester;
  int taken = 0;
  for (const Case& c : cases()) {
    for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      Block block("test");
      auto body = std::make_shared<Block>("region");
      std::vector<Value> outer, inner;
      auto operand = [&](const Dims& dims) {
        const std::string name = "a" + std::to_string(outer.size());
        outer.push_back(block.argument(name, {dtype, Shape::of(dims)}));
        inner.push_back(body->argument(name, outer.back().type()));
      };
      operand(c.a);
      operand(c.b);
      const Value product = matmul(inner[0], inner[1], c.attributes);
      const Dims result = product.shape().static_dims();
      operand({result.back()});
      body->result("r0", product + inner[2]);
      const Value y = region(block, outer, body);
      for (const KernelDef* kernel : kernels_for(matmul_kernels(), y)) {
        std::vector<std::vector<double>> values;
        for (const Value& value : outer) values.push_back(random_values(value.type(), ++taken));
        const std::vector<double> got = tester.run(*kernel, y, values);
        std::vector<double> want = naive(c, values[0], values[1], result);
        ASSERT_EQ(got.size(), want.size());
        for (size_t i = 0; i < want.size(); ++i) {
          want[i] += values[2][i % result.back()];
          ASSERT_NEAR(got[i], want[i],
                      (dtype == DType::f32 ? 1e-5 : 1e-13) * (1 + std::abs(want[i])))
              << kernel->name << " " << i;
        }
      }
    }
  }
  EXPECT_EQ(taken, 3 * 2 * 34);
}

TEST_F(Matmul, OffersCublasltsAlgorithms) {
  LibraryTester tester;
  Block block("test");
  const Value y = matmul(block.argument("a", {DType::f32, {16, 512}}),
                         block.argument("b", {DType::f32, {512, 16}}));
  const KernelDef& kernel = *kernels_for(matmul_kernels(), y)[0];
  const std::vector<std::string> variants = tester.variants(kernel, y);
  ASSERT_GE(variants.size(), 2u);
  EXPECT_EQ(variants[1], "1");
  KernelRequest request = request_of(y);
  for (const std::string& unknown : {std::to_string(variants.size()), std::string("x")}) {
    request.variant = unknown;
    EXPECT_THROW(kernel.describe(request, tester.context()), PlanError);
  }
#ifdef ADJOINT_FAKE_CUDA
  // The double's two: one splits the sum, which takes room.
  std::vector<size_t> room;
  for (const std::string& variant : variants) {
    request.variant = variant;
    room.push_back(kernel.describe(request, tester.context()).workspace_bytes);
  }
  EXPECT_THAT(room, testing::ElementsAre(testing::Gt(0u), 0u));
#endif
}

TEST_F(Matmul, RoundsFactorsOnDemandOnly) {
  Block block("test");
  const Value a = block.argument("a", {DType::f32, {1, 1}});
  const Value b = block.argument("b", {DType::f32, {1, 1}});
  const double fine = 1 + std::ldexp(1, -20);  // needs more than TF32's 10 bits
  const KernelDef& kernel = *kernels_for(matmul_kernels(), matmul(a, b))[0];
  EXPECT_EQ(LibraryTester().run(kernel, matmul(a, b), {{fine}, {1}})[0], fine);
#ifdef ADJOINT_FAKE_CUDA  // a GPU may still choose to be exact
  EXPECT_EQ(LibraryTester({.tf32 = true}).run(kernel, matmul(a, b), {{fine}, {1}})[0], 1);
#endif
}

#ifdef ADJOINT_FAKE_CUDA
TEST_F(Matmul, BatchesWhatItCan) {
  struct Calls {
    Dims a, b;
    int64_t count;
  };
  LibraryTester tester;
  const KernelDef& kernel = matmul_kernels()[0];
  for (const Calls& c : {Calls{{3, 4, 6, 5}, {5, 9}, 1}, Calls{{3, 4, 6, 5}, {3, 4, 5, 9}, 1},
                         Calls{{3, 4, 6, 5}, {4, 5, 9}, 3}, Calls{{4, 1, 6, 5}, {3, 5, 9}, 4}}) {
    Block block("test");
    const Value a = block.argument("a", {DType::f32, Shape::of(c.a)});
    const Value b = block.argument("b", {DType::f32, Shape::of(c.b)});
    const int64_t before = fake_cuda::launches()["cublasLtMatmul"];
    tester.run(kernel, matmul(a, b), {random_values(a.type(), 1), random_values(b.type(), 2)});
    EXPECT_EQ(fake_cuda::launches()["cublasLtMatmul"] - before, c.count) << to_text(b.type());
  }
}
#endif

}  // namespace
}  // namespace adjoint::cuda
