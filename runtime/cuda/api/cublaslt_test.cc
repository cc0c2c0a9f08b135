// cuBLASLt's wrapper: epilogues, batches, alignment, failures.
#include "runtime/cuda/api/cublaslt.h"

#include <algorithm>
#include <cmath>

#include "graph/error.h"
#include "runtime/cuda/kernels/library_tester.h"

namespace adjoint::cuda {
namespace {

using Values = std::vector<double>;

class CublasLtTest : public testing::Test {
 protected:
#ifdef ADJOINT_FAKE_CUDA
  CublasLtTest() { fake_cuda::reset(); }
#endif
  void TearDown() override { EXPECT_THAT(findings(), testing::IsEmpty()); }

  static Values random(int64_t count, DType dtype, uint64_t seed) {
    return random_values({dtype, {count}}, seed);
  }
};

Values naive(const MatmulShape& s, const Values& a, const Values& b, const Values& bias) {
  Values d;
  for (int64_t batch = 0; batch < s.batch; ++batch) {
    for (int64_t i = 0; i < s.m; ++i) {
      for (int64_t j = 0; j < s.n; ++j) {
        double sum = bias.empty() ? 0 : bias[j];
        for (int64_t l = 0; l < s.k; ++l) {
          sum += a[batch * s.a_stride + i * s.k + l] * b[batch * s.b_stride + l * s.n + j];
        }
        const bool is_relu = s.epilogue == Epilogue::relu || s.epilogue == Epilogue::bias_relu;
        d.push_back(is_relu ? std::max(sum, 0.0) : sum);
      }
    }
  }
  return d;
}

TEST_F(CublasLtTest, AppliesEpiloguesToRows) {
  LibraryTester tester;
  const CublasLt cublaslt;
  for (DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    for (Epilogue epilogue :
         {Epilogue::none, Epilogue::bias, Epilogue::relu, Epilogue::bias_relu}) {
      SCOPED_TRACE(std::string(name(dtype)) + " " + std::to_string(static_cast<int>(epilogue)));
      const MatmulShape shape{.dtype = dtype,
                              .precision = dtype == DType::f64 ? Precision::f64 : Precision::f32,
                              .m = 5,
                              .n = 7,
                              .k = 40,
                              .epilogue = epilogue,
                              .batch = 3,
                              .a_stride = 5 * 40,
                              .d_stride = 5 * 7};
      const bool has_bias = epilogue == Epilogue::bias || epilogue == Epilogue::bias_relu;
      const Values a = random(3 * 5 * 40, dtype, 1), b = random(40 * 7, dtype, 2);
      const Values bias = has_bias ? random(7, dtype, 3) : Values{};
      const DeviceMemory da = tester.upload(dtype, a), db = tester.upload(dtype, b);
      const DeviceMemory dbias = tester.upload(dtype, bias), d(3 * 5 * 7 * size_of(dtype));
      const MatmulPlan plan = cublaslt.plan(shape);
      const DeviceMemory workspace(plan.workspace_bytes);
      cublaslt.matmul(plan,
                      {.a = da.data(),
                       .b = db.data(),
                       .bias = dbias.data(),
                       .d = d.data(),
                       .workspace = workspace.data()},
                      tester.stream().get());
      const Values got = tester.download(dtype, d), want = naive(shape, a, b, bias);
      const double rounding = dtype == DType::f64    ? 1e-13
                              : dtype == DType::f32  ? 1e-5
                              : dtype == DType::bf16 ? 1.0 / 256
                                                     : 1.0 / 2048;
      ASSERT_EQ(got.size(), want.size());
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], want[i], rounding * (1 + std::abs(want[i]))) << i;
      }
    }
  }
}

TEST_F(CublasLtTest, StaysWithinTheWorkspaceLimit) {
  const CublasLt cublaslt;
  const MatmulShape shape{.m = 16, .n = 16, .k = 4096};
  EXPECT_EQ(cublaslt.plan(shape, 0).workspace_bytes, 0u);
  EXPECT_LE(cublaslt.plan(shape, 4096).workspace_bytes, 4096u);
}

#ifdef ADJOINT_FAKE_CUDA
TEST_F(CublasLtTest, EveryFailingCallIsAnError) {
  auto multiply = [] {
    LibraryTester tester;
    const CublasLt cublaslt;
    const DeviceMemory a(64), b(64), bias(64), d(64);
    const MatmulPlan plan = cublaslt.plan({.m = 4, .n = 4, .k = 4, .epilogue = Epilogue::bias});
    cublaslt.matmul(plan, {.a = a.data(), .b = b.data(), .bias = bias.data(), .d = d.data()},
                    tester.stream().get());
    tester.stream().synchronize();
  };
  expect_each_failing_call_is_an_error(multiply, 20);
}
#endif

}  // namespace
}  // namespace adjoint::cuda
