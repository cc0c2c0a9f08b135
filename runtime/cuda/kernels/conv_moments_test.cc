// Convolutions that take the moments of their results: y against the plain kernels', and mean and
// variance against plain loops over y.
#include "runtime/cuda/conv_moments.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "ops/elementwise.h"
#include "ops/norm.h"
#include "ops/shape.h"
#include "runtime/cuda/kernels/conv_tester.h"

namespace adjoint::cuda {
namespace {

// The region of a case and, by themselves, its convolution or the region of that.
struct Graph {
  Block block{"test"};
  Value x, filter, plain, moments;
  int64_t channels;
  bool has_bias;

  Graph(const Case& c, DType dtype, bool is_turned, bool has_bias = true)
      : channels(c.filter[3]), has_bias(has_bias) {
    const DType vectors = dtype == DType::f64 ? dtype : DType::f32;
    const Type vector = {vectors, {channels}};
    x = block.argument("x", {dtype, Shape::of(c.x)});
    const Dims& f = c.filter;
    const Value straight = block.argument("straight", {dtype, Shape::of(f)});
    filter = is_turned ? block.argument("filter", {dtype, {f[3], f[0], f[1], f[2]}}) : straight;
    std::vector<Value> operands = {x, filter, block.argument("scale", vector),
                                   block.argument("offset", vector)};
    if (has_bias) operands.push_back(block.argument("bias", vector));
    plain = conv2d(x, straight, c.attributes);
    if (is_turned) {
      plain = region(block, std::vector<Value>{x, filter},
                     turned_body(plain.node(), std::vector<Value>{x, filter}));
    }
    moments = region(block, operands, body(operands, is_turned, c.attributes));
  }

  // Values for the operands; scale and offset are not read.
  std::vector<Values> inputs(Values bias) const {
    const double none = std::numeric_limits<double>::quiet_NaN();
    std::vector<Values> result = {random_values(x.type(), 1), random_values(filter.type(), 2),
                                  Values(channels, none), Values(channels, none)};
    if (has_bias) result.push_back(std::move(bias));
    return result;
  }
  std::vector<Values> inputs() const { return inputs(random_values({DType::f32, {channels}}, 3)); }

 private:
  static std::shared_ptr<const Block> body(const std::vector<Value>& operands, bool is_turned,
                                           const Conv2dAttributes& attributes) {
    auto body = std::make_shared<Block>("region");
    std::vector<Value> a;
    for (const Value& operand : operands) {
      a.push_back(body->argument("a" + std::to_string(a.size()), operand.type()));
    }
    const Value y = conv2d(a[0], is_turned ? transpose(a[1], {1, 2, 3, 0}) : a[1], attributes);
    Value sum = y.dtype() == a[2].dtype() ? y : cast(y, a[2].dtype());
    if (a.size() > 4) sum = sum + a[4];
    const Normalized n = batch_norm(sum, a[2], a[3]);
    body->result("r0", y);
    body->result("r1", n.mean);
    body->result("r2", n.variance);
    return body;
  }
};

// Sizes around those of blocks, in one block, in one group of blocks and in two.
std::vector<Case> thin_cases() {
  const auto same = Padding::same;
  return {
      {"one pixel", {1, 5, 5, 1}, {5, 5, 1, 8}},
      {"rest of a row", {2, 5, 9, 1}, {3, 3, 1, 16}},
      {"one block", {1, 12, 12, 1}, {5, 5, 1, 24}},
      {"some blocks", {5, 12, 12, 1}, {5, 5, 1, 24}},
      {"rows of three and a rest", {5, 12, 11, 1}, {5, 5, 1, 24}},
      {"channels of x", {2, 6, 7, 3}, {3, 3, 3, 8}, {.padding = same}},
      {"seven packs", {2, 8, 14, 1}, {4, 5, 1, 56}},
      {"64 channels", {3, 6, 13, 1}, {4, 5, 1, 64}},
      {"two groups", {27, 30, 8, 1}, {5, 5, 1, 48}},
  };
}

std::vector<Case> cases_in_packs(int64_t pack) {
  const auto same = Padding::same;
  std::vector<Case> cases = {
      {"one pixel", {1, 1, 1, 4}, {1, 1, 4, 4}},
      {"one block", {1, 8, 8, 4}, {1, 1, 4, 48}},
      {"a row and a column too many", {65, 1, 1, 28}, {1, 1, 28, 52}},
      {"some blocks", {5, 12, 12, 8}, {3, 3, 8, 48}},
      {"same", {5, 12, 11, 4}, {3, 3, 4, 60}, {.padding = same}},
      {"stride", {3, 12, 11, 4}, {3, 3, 4, 8}, {.stride = {2, 2}}},
      {"two groups", {12, 12, 12, 4}, {3, 3, 4, 52}},
      {"rows that are not there", {3, 6, 7, 8}, {3, 2, 8, 52}, {.padding = same}},
  };
  return widened(std::move(cases), pack);
}

struct Moments {
  double mean = 0, variance = 0;
};

// Of a channel of y, plus a bias in f32 as kernels add it.
Moments moments_of(const Values& y, int64_t channel, int64_t channels, double bias) {
  std::vector<double> values;
  for (size_t i = channel; i < y.size(); i += channels) {
    values.push_back(static_cast<float>(y[i]) + static_cast<float>(bias));
  }
  Moments result;
  const double count = static_cast<double>(values.size());
  for (double value : values) result.mean += value / count;
  for (double value : values) result.variance += std::pow(value - result.mean, 2) / count;
  return result;
}

using ConvMomentsKernels = Conv;

void expect_moments(const std::vector<Values>& got, const std::vector<Values>& inputs) {
  const int64_t channels = got[1].size();
  for (int64_t c = 0; c < channels; ++c) {
    const double bias = inputs.size() > 4 ? inputs[4][c] : 0;
    const Moments want = moments_of(got[0], c, channels, bias);
    const double spread = std::sqrt(want.variance);
    ASSERT_NEAR(got[1][c], want.mean, 1e-7 * (std::abs(want.mean) + spread)) << c;
    ASSERT_NEAR(got[2][c], want.variance, 1e-6 * want.variance) << c;
  }
}

// The variant of the plain kernel that a kernel with moments takes.
std::string plain_variant(const KernelDef& plain, const std::string& variant) {
  if (plain.variants == nullptr) return "";
  return variant.substr(0, variant.find("-apart"));
}

// Of factors that TF32 holds exactly, added in another order.
void expect_near(const Values& got, const Values& want, DType stored) {
  const double relative = stored == DType::bf16 ? 1.0 / 128 : 1e-5;
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], relative * std::abs(want[i]) + 1e-5) << i;
  }
}

// Every kernel, with every variant.
void check_moments(const Graph& graph, const std::vector<Values>& inputs,
                   const Options& options = {}) {
  LibraryTester tester(options);
  int64_t kernels = 0;
  for (const KernelDef* kernel : kernels_for(convolution_kernels(), graph.moments)) {
    const std::string name(kernel->name);
    const KernelDef& plain = kernel_named(name.substr(0, name.size() - 8));  // without _moments
    for (const std::string& variant : tester.variants(*kernel, graph.moments)) {
      SCOPED_TRACE(name + "#" + variant);
      ++kernels;
      const std::vector<Values> got = tester.run_all(*kernel, graph.moments, inputs, variant);
      const Values want =
          tester.run(plain, graph.plain, {inputs[0], inputs[1]}, plain_variant(plain, variant));
      if (variant == "tensor") {
        expect_near(got[0], want, graph.x.dtype());
      } else {
        EXPECT_EQ(got[0], want);
      }
      expect_moments(got, inputs);
    }
  }
  EXPECT_GT(kernels, 0);
}

void check_all(const std::vector<Case>& cases, DType dtype, bool is_turned,
               const Options& options = {}) {
  for (const Case& c : cases) {
    for (const bool has_bias : {true, false}) {
      SCOPED_TRACE(c.name + (has_bias ? ", bias" : ""));
      const Graph graph(c, dtype, is_turned, has_bias);
      check_moments(graph, graph.inputs(), options);
    }
  }
}

TEST_F(ConvMomentsKernels, ThinOnes) {
  check_all(thin_cases(), DType::f32, false);
  check_all(thin_cases(), DType::bf16, false);
}

// Tiles of a warp, a block's that begin within a row, channels of two blocks.
TEST_F(ConvMomentsKernels, ThinOnesOnTensorCores) {
  std::vector<Case> cases = thin_cases();
  cases.push_back({"of the reference network", {2, 28, 28, 1}, {5, 5, 1, 24}});
  cases.push_back({"blocks within a row", {2, 5, 700, 1}, {3, 3, 1, 16}});
  cases.push_back({"padded", {2, 21, 23, 2}, {5, 5, 2, 40}, {.padding = Padding::same}});
  cases.push_back({"a wide filter", {2, 9, 30, 2}, {7, 7, 2, 32}});
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Graph graph(c, DType::f32, false);
    std::vector<Values> inputs = graph.inputs();
    for (int i : {0, 1}) {
      inputs[i] = random_values({DType::bf16, {static_cast<int64_t>(inputs[i].size())}}, 4 + i);
    }
    check_moments(graph, inputs, {.tf32 = true});
    check_moments(Graph(c, DType::bf16, false), Graph(c, DType::bf16, false).inputs());
  }
}

TEST_F(ConvMomentsKernels, ProductsOfTilesAndCudnns) {
  check_all(cases_in_packs(4), DType::f32, true);
  check_all(cases_in_packs(4), DType::f32, true, {.tf32 = true});
  check_all(cases_in_packs(8), DType::bf16, true);
}

// 22 tiles of channels have two tickets each: a group is all blocks.
TEST_F(ConvMomentsKernels, OfManyChannels) {
  const Graph graph({"", {1, 30, 35, 4}, {1, 1, 4, 1012}}, DType::f32, true);
  check_moments(graph, graph.inputs());
}

// 82 blocks, more than are joined at once.
TEST_F(ConvMomentsKernels, OfManyBlocks) {
  const Graph graph({"", {100, 30, 8, 1}, {5, 5, 1, 64}}, DType::f32, false);
  check_moments(graph, graph.inputs());
}

// Where a step of k has more values than the filter sees, they are no zeros times what lies there.
TEST_F(ConvMomentsKernels, AnInfinityOnTensorCoresIsOne) {
  const Graph graph({"", {1, 6, 7, 1}, {5, 5, 1, 8}}, DType::bf16, false);
  std::vector<Values> inputs = graph.inputs();
  inputs[0][8] = std::numeric_limits<double>::infinity();
  const KernelDef& kernel = kernel_named("adjoint.conv2d_thin_moments");
  LibraryTester tester;
  const auto infinities = [&](const char* variant) {
    Values y = tester.run(kernel, graph.moments, inputs, variant);
    for (double& value : y) value = std::isfinite(value) ? 0 : value;
    return y;
  };
  EXPECT_EQ(infinities("tensor"), infinities("epilogue"));
}

std::vector<std::pair<Case, bool>> some_cases() {
  std::vector<std::pair<Case, bool>> some;
  for (const Case& c : thin_cases()) some.emplace_back(c, false);
  for (const Case& c : cases_in_packs(4)) some.emplace_back(c, true);
  return some;
}

TEST_F(ConvMomentsKernels, AMeanFarFromZeroKeepsTheVariance) {
  for (const auto& [c, is_turned] : some_cases()) {
    SCOPED_TRACE(c.name);
    const Graph graph(c, DType::f32, is_turned);
    check_moments(graph, graph.inputs(Values(c.filter[3], 1000)));
  }
}

// Of a block's values the first, from which distances are counted, may be the one that is apart.
TEST_F(ConvMomentsKernels, AnOutlierKeepsTheVariance) {
  for (const auto& [c, is_turned] : some_cases()) {
    SCOPED_TRACE(c.name);
    const Graph graph(c, DType::f32, is_turned);
    std::vector<Values> inputs = graph.inputs();
    for (const double place : {0.0, 0.5}) {
      std::vector<Values> one = inputs;
      one[0][static_cast<size_t>(place * static_cast<double>(one[0].size()))] = 1e5;
      check_moments(graph, one);
    }
  }
}

TEST_F(ConvMomentsKernels, GiveTheSameBitsInAnyOrder) {
  for (const auto& [c, is_turned] : some_cases()) {
    SCOPED_TRACE(c.name);
    const Graph graph(c, DType::f32, is_turned);
    const KernelDef& kernel =
        kernel_named(is_turned ? "adjoint.conv2d_gemm_moments" : "adjoint.conv2d_thin_moments");
    for (const bool tf32 : {false, true}) {
      expect_same_in_any_order([&] {
        return LibraryTester({.tf32 = tf32}).run_all(kernel, graph.moments, graph.inputs());
      });
    }
  }
}

TEST_F(ConvMomentsKernels, AreThoseOfThePlainOnes) {
  const std::string_view gemm = "adjoint.conv2d_gemm_moments", cudnn = "cudnn.conv2d_moments";
  const Case thin{"", {2, 9, 9, 1}, {5, 5, 1, 8}}, packs{"", {2, 6, 6, 8}, {3, 3, 8, 8}};
  const auto none = testing::IsEmpty();
  using testing::ElementsAre;
  EXPECT_THAT(names(Graph(thin, DType::f32, false).moments),
              ElementsAre("adjoint.conv2d_thin_moments"));
  EXPECT_THAT(names(Graph(thin, DType::f32, true).moments), none);
  EXPECT_THAT(names(Graph(packs, DType::f32, true).moments), ElementsAre(gemm, cudnn, gemm));
  EXPECT_THAT(names(Graph(packs, DType::bf16, true).moments), ElementsAre(gemm, cudnn, gemm));
  EXPECT_THAT(names(Graph(packs, DType::f32, false).moments), none);
  for (const DType dtype : {DType::f64, DType::f16}) {
    EXPECT_THAT(names(Graph(thin, dtype, false).moments), none);
    EXPECT_THAT(names(Graph(packs, dtype, true).moments), none);
  }
  const Case odd{"", {2, 6, 6, 5}, {3, 3, 5, 7}}, wide{"", {2, 2, 2, 4}, {1, 1, 4, 3076}};
  EXPECT_THAT(names(Graph(odd, DType::f32, true).moments), ElementsAre(cudnn));
  EXPECT_THAT(names(Graph(wide, DType::f32, true).moments), ElementsAre(cudnn));  // 65 tiles
}

// Ours with the moments in the epilogue, or with a launch of their own behind.
TEST_F(ConvMomentsKernels, HaveThePlainOnesVariants) {
  const Graph graph({"", {2, 6, 6, 8}, {3, 3, 8, 8}}, DType::f32, true);
  const auto variants = [](Value result, bool tf32 = false) {
    LibraryTester tester({.tf32 = tf32});
    tester.context().properties.shared_bytes = 227 << 10;  // an H100's
    std::vector<std::string> found;
    for (const KernelDef* kernel : kernels_for(convolution_kernels(), result)) {
      const bool is_cudnn = kernel->name.starts_with("cudnn.");
      for (const std::string& variant : tester.variants(*kernel, result)) {
        found.push_back(is_cudnn ? "cudnn" : variant);
      }
    }
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  };
  using testing::ElementsAre;
  EXPECT_THAT(variants(graph.plain), ElementsAre("64x48", "cudnn"));
  EXPECT_THAT(variants(graph.moments), ElementsAre("64x48", "64x48-apart", "cudnn"));
  EXPECT_THAT(variants(graph.moments, true),
              ElementsAre("tf32", "tf32-apart", "tf32-resident", "tf32-resident-apart", "cudnn",
                          "64x48", "64x48-apart"));
  const Graph thin({"", {2, 9, 9, 1}, {5, 5, 1, 8}}, DType::f32, false);
  EXPECT_THAT(variants(thin.moments), ElementsAre("epilogue", "launch-apart"));
  EXPECT_THAT(variants(thin.moments, true), ElementsAre("tensor", "epilogue", "launch-apart"));
  LibraryTester tester;
  const auto expect_refused = [&](const char* kernel, Value result, const char* variant) {
    KernelRequest request = request_of(result);
    request.variant = variant;
    EXPECT_THROW(kernel_named(kernel).describe(request, tester.context()), PlanError) << variant;
  };
  expect_refused("adjoint.conv2d_thin_moments", thin.moments, "tensor");  // not in f32
  for (const char* variant : {"tf32", "tf32-apart", "apart"}) {
    expect_refused("adjoint.conv2d_gemm_moments", graph.moments, variant);
    expect_refused("cudnn.conv2d_moments", graph.moments, variant);
    expect_refused("adjoint.conv2d_thin_moments", thin.moments, variant);
  }
}

}  // namespace
}  // namespace adjoint::cuda
