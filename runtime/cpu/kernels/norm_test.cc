// The kernels of batch_norm and layer_norm against plain loops in double.
#include "ops/norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/cpu/kernels/kernel_tester.h"

namespace adjoint::cpu {
namespace {

constexpr DType kFloats[] = {DType::f32, DType::f64, DType::bf16, DType::f16};

double tolerance_of(DType dtype) {
  return dtype == DType::f64   ? 1e-12
         : dtype == DType::f32 ? 3e-6
         : dtype == DType::f16 ? 1.0 / 1000
                               : 1.0 / 128;
}

// Normalised groups of elements: element i belongs to group(i) and to channel i % c.
struct Groups {
  int64_t count;
  int64_t size;
  bool by_channel;
  int64_t channels;
  int64_t group(int64_t i) const { return by_channel ? i % channels : i / channels; }
};

double r_of(double variance, double epsilon) { return 1 / std::sqrt(variance + epsilon); }

struct Values {
  std::vector<double> y, mean, variance;
};
Values naive_norm(const Groups& g, double epsilon, const TestTensor& x, const TestTensor& scale,
                  const TestTensor& offset) {
  Values v;
  v.mean.resize(g.count), v.variance.resize(g.count);
  for (int64_t i = 0; i < x.size(); ++i) v.mean[g.group(i)] += x.at(i) / g.size;
  for (int64_t i = 0; i < x.size(); ++i) {
    v.variance[g.group(i)] += std::pow(x.at(i) - v.mean[g.group(i)], 2) / g.size;
  }
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t k = g.group(i), c = i % g.channels;
    const double z = (x.at(i) - v.mean[k]) * r_of(v.variance[k], epsilon);
    v.y.push_back(z * scale.at(c) + offset.at(c));
  }
  return v;
}

struct Gradients {
  std::vector<double> x, scale, offset;
};
Gradients naive_gradients(const Groups& g, double epsilon, const TestTensor& dy,
                          const TestTensor& x, const TestTensor& scale, const TestTensor& mean,
                          const TestTensor& variance) {
  Gradients d;
  d.scale.resize(g.channels), d.offset.resize(g.channels);
  std::vector<double> h_mean(g.count), projection(g.count);
  auto z = [&](int64_t i) {
    const int64_t k = g.group(i);
    return (x.at(i) - mean.at(k)) * r_of(variance.at(k), epsilon);
  };
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t k = g.group(i), c = i % g.channels;
    h_mean[k] += dy.at(i) * scale.at(c) / g.size;
    projection[k] += dy.at(i) * scale.at(c) * z(i) / g.size;
    d.scale[c] += dy.at(i) * z(i);
    d.offset[c] += dy.at(i);
  }
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t k = g.group(i);
    const double h = dy.at(i) * scale.at(i % g.channels);
    d.x.push_back(r_of(variance.at(k), epsilon) * (h - h_mean[k] - z(i) * projection[k]));
  }
  return d;
}

void expect_near(const TestTensor& got, const std::vector<double>& expected, double tolerance,
                 const char* what) {
  ASSERT_EQ(got.size(), std::ssize(expected));
  for (int64_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got.at(i), expected[i], tolerance * (1 + std::abs(expected[i]))) << what << i;
  }
}

void check_norm(const std::vector<int64_t>& dims, DType dtype, bool batch, double far = 0) {
  const double epsilon = 1e-3, tolerance = tolerance_of(dtype);
  const int64_t c = dims.back();
  Block block("test");
  const Value x = block.argument("x", {dtype, Shape::of(dims)});
  const Value scale = block.argument("scale", {dtype, {Dim(c)}});
  const Value offset = block.argument("offset", {dtype, {Dim(c)}});
  const Value dy = block.argument("dy", x.type());
  SCOPED_TRACE(to_text(x.type()) + (batch ? " batch" : " layer"));
  TestTensor tx = random_tensor(x.type(), 1);
  for (int64_t i = 0; i < tx.size(); ++i) tx.set(i, tx.at(i) * (i % c % 3 + 0.5) + far);
  const TestTensor ts = random_tensor(scale.type(), 2), to = random_tensor(offset.type(), 3);
  const TestTensor td = random_tensor(dy.type(), 4);
  const int64_t rows = tx.size() / c;
  const Groups groups{batch ? c : rows, batch ? rows : c, batch, c};
  const Values e = naive_norm(groups, epsilon, tx, ts, to);
  const Normalized n =
      batch ? batch_norm(x, scale, offset, epsilon) : layer_norm(x, scale, offset, epsilon);
  const std::vector<TestTensor> out = run_kernel(n.y, {tx, ts, to});
  // Far from zero, x itself is rounded: what is left of the mean's rounding shows in y.
  const double lost = far * tolerance;
  expect_near(out[0], e.y, tolerance * 4 + lost, "y");
  expect_near(out[1], e.mean, tolerance, "mean");
  expect_near(out[2], e.variance, tolerance, "variance");
  const NormGradients g = batch ? batch_norm_grad(dy, x, scale, n.mean, n.variance, epsilon)
                                : layer_norm_grad(dy, x, scale, n.mean, n.variance, epsilon);
  const std::vector<TestTensor> grads = run_kernel(g.x, {td, tx, ts, out[1], out[2]});
  const Gradients d = naive_gradients(groups, epsilon, td, tx, ts, out[1], out[2]);
  expect_near(grads[0], d.x, tolerance * 4, "dx");
  expect_near(grads[1], d.scale, tolerance, "dscale");
  expect_near(grads[2], d.offset, tolerance, "doffset");
  if (!batch) return;
  std::vector<double> y;
  for (int64_t i = 0; i < tx.size(); ++i) {
    const double z = (tx.at(i) - out[1].at(i % c)) * r_of(out[2].at(i % c), epsilon);
    y.push_back(z * ts.at(i % c) + to.at(i % c));
  }
  const Value inference = batch_norm_inference(x, scale, offset, n.mean, n.variance, epsilon);
  expect_near(run_kernel(inference, {tx, ts, to, out[1], out[2]})[0], y, tolerance * 4,
              "inference");
}

TEST(BatchNorm, AgreesWithPlainLoops) {
  for (DType dtype : kFloats) {
    for (const std::vector<int64_t>& dims : {std::vector<int64_t>{128, 512},
                                             {96, 10},
                                             {5, 1},
                                             {1, 3},
                                             {16, 24, 24, 24},
                                             {7, 5, 6, 7},
                                             {3, 9, 13},
                                             {2, 65},
                                             {100, 64}}) {
      check_norm(dims, dtype, true);
    }
  }
}

TEST(LayerNorm, AgreesWithPlainLoops) {
  for (DType dtype : kFloats) {
    for (const std::vector<int64_t>& dims :
         {std::vector<int64_t>{128, 512}, {96, 10}, {5, 2}, {24}, {7, 5, 67}, {3000, 9}}) {
      check_norm(dims, dtype, false);
    }
  }
}

// A naive sum of squares would leave nothing of the variance.
TEST(BatchNorm, AMeanFarFromZeroCostsNoDigits) {
  check_norm({4000, 5}, DType::f32, true, 1000);
  check_norm({4000, 5}, DType::f64, true, 1e6);
}

TEST(BatchNorm, NaNStaysInItsChannel) {
  Block block("test");
  const Value x = block.argument("x", {DType::f32, {40, 3}});
  const Value c = block.argument("c", {DType::f32, {3}});
  TestTensor in = random_tensor(x.type(), 1);
  in.set(31, NAN);
  const std::vector<TestTensor> out = run_kernel(
      batch_norm(x, c, c).y, {in, random_tensor(c.type(), 2), random_tensor(c.type(), 3)});
  for (int64_t i = 0; i < 120; ++i) EXPECT_EQ(std::isnan(out[0].at(i)), i % 3 == 1);
  for (int64_t k = 0; k < 3; ++k) EXPECT_EQ(std::isnan(out[2].at(k)), k == 1);
}

TEST(Norm, NoRows) {
  Block block("test");
  const Value x = block.argument("x", {DType::f32, {0, 3}});
  const Value c = block.argument("c", {DType::f32, {3}});
  const TestTensor s = TestTensor::of(DType::f32, {3}, {1, 2, NAN});
  const Normalized n = batch_norm(x, c, c);
  const std::vector<TestTensor> out = run_kernel(n.y, {random_tensor(x.type(), 1), s, s});
  EXPECT_TRUE(std::isnan(out[1].at(0)));
  const TestTensor none = random_tensor(x.type(), 1);
  const std::vector<TestTensor> grads =
      run_kernel(batch_norm_grad(x, x, c, n.mean, n.variance).x, {none, none, s, s, s});
  for (int64_t k = 0; k < 3; ++k) {
    EXPECT_EQ(grads[1].at(k), 0);
    EXPECT_EQ(grads[2].at(k), 0);
  }
}

}  // namespace
}  // namespace adjoint::cpu
