// The input's gradient of a convolution with that of batch norm behind it, against the plain
// kernels one after the other.
#include "runtime/cuda/conv_norm_grad.h"

#include <algorithm>
#include <cmath>

#include "runtime/cuda/kernels/conv_tester.h"
#include "runtime/cuda/kernels/norm_grad_tester.h"

namespace adjoint::cuda {
namespace {

// The convolution's x is what the pool leaves of batch norm's.
struct NormCase {
  Case convolution;
  PoolAttributes pool = {};  // no window: none
};

Dims normalised(const NormCase& c) {
  Dims x = c.convolution.x;
  for (size_t i = 0; i < c.pool.window.size(); ++i) x[1 + i] *= c.pool.stride[i];
  return x;
}

// A region of both, and each by itself.
struct Graph {
  Block block{"test"};
  Value joined, convolution, norm;

  Graph(const NormCase& c, Stored stored, bool has_bias, bool bias_sum) {
    const Dims &f = c.convolution.filter, &x = c.convolution.x;
    const Type g = {stored.y, Shape::of(x)};
    const Type filter = {stored.y, {f[3], f[0], f[1], f[2]}};
    Block shapes("shapes");
    const Type y = conv2d(shapes.argument("x", g), shapes.argument("f", {stored.y, Shape::of(f)}),
                          c.convolution.attributes)
                       .type();
    const NormOptions options = {stored, c.pool, has_bias, bias_sum};
    const std::vector<Type> others = norm_operands(normalised(c), options);
    const auto input_grad = [&](const ValueList& a) {
      return conv2d_input_grad(a[0], transpose(a[1], {1, 2, 3, 0}), g.shape,
                               c.convolution.attributes);
    };
    convolution = make_region(block, {y, filter},
                              [&](const ValueList& a) { return ValueList{input_grad(a)}; });
    std::vector<Type> types = {g};
    types.insert(types.end(), others.begin(), others.end());
    norm = make_region(block, types, [&](const ValueList& a) {
      return norm_grad(a[0], {a.begin() + 1, a.end()}, options);
    });
    types[0] = y;
    types.insert(types.begin() + 1, filter);
    joined = make_region(block, types, [&](const ValueList& a) {
      return norm_grad(input_grad(a), {a.begin() + 2, a.end()}, options);
    });
  }

  // The variance is positive.
  std::vector<Values> inputs() const {
    std::vector<Values> result;
    const std::vector<ValueId>& operands = joined.node().operands;
    for (size_t i = 0; i < operands.size(); ++i) {
      result.push_back(random_values(block.type(operands[i]), 1 + i));
    }
    for (double& variance : result[6]) variance = 0.5 + std::abs(variance);
    return result;
  }
};

// Channels in whole packs of so many; images enough for the input's gradient. Blocks of one group
// and of several, tiles of channels that are not full.
std::vector<NormCase> cases_in_packs(int64_t pack) {
  std::vector<NormCase> cases = {
      {{"one block", {32, 1, 1, 12}, {1, 1, 12, 4}}},
      {{"one block, pool", {32, 1, 1, 12}, {1, 1, 12, 4}}, kTwo},
      {{"ragged, pool", {33, 6, 7, 12}, {3, 3, 12, 8}}, kTwo},
      {{"ragged", {33, 2, 3, 28}, {2, 2, 28, 12}}},
      {{"two images too many", {66, 3, 3, 28}, {2, 2, 28, 4}}, kTwo},
      {{"whole tiles", {64, 3, 3, 24}, {2, 2, 24, 8}}, kTwo},
      {{"pixels as windows", {32, 3, 2, 4}, {2, 2, 4, 4}}, {.window = {1, 1}, .stride = {1, 1}}},
  };
  for (NormCase& c : cases) c.convolution = widened({c.convolution}, pack)[0];
  return cases;
}

std::vector<const KernelDef*> kernels(Value result) {
  return kernels_for(conv_norm_grad_kernels(), result);
}

// The convolution's kernel that a kernel's variant contains, and that one's variant.
const KernelDef& plain_of(const KernelDef& kernel) {
  return kernel_named(kernel.name.substr(0, kernel.name.size() - 5));  // without _norm
}
std::string plain_variant(const std::string& variant) {
  return variant.substr(0, variant.find("-apart"));
}

// Sums in double are rounded once, after they were added in another order.
void expect_near(const std::vector<Values>& got, const std::vector<Values>& want, DType stored) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t k = 0; k < got.size(); ++k) {
    ASSERT_EQ(got[k].size(), want[k].size());
    const double relative = k == 0 && stored == DType::bf16 ? 1.0 / 128 : 1e-6;
    for (size_t i = 0; i < got[k].size(); ++i) {
      ASSERT_NEAR(got[k][i], want[k][i], relative * (1e-3 + std::abs(want[k][i])))
          << "result " << k << " at " << i;
    }
  }
}

using ConvNormGradKernels = Conv;

// Every kernel with every variant, or those with the sums in the epilogue; returns how many these
// are.
int check(const Graph& graph, const std::vector<Values>& inputs, const Options& options = {},
          bool epilogues_alone = false) {
  LibraryTester tester(options);
  const KernelDef& norm = *kernels_for(norm_relu_kernels(), graph.norm)[0];
  int in_epilogue = 0;
  for (const KernelDef* kernel : kernels(graph.joined)) {
    for (const std::string& variant : tester.variants(*kernel, graph.joined)) {
      SCOPED_TRACE(std::string(kernel->name) + "#" + variant);
      const bool is_ours = kernel->name.starts_with("adjoint.");
      const bool is_apart = !is_ours || variant.ends_with("-apart");
      if (is_apart && epilogues_alone) continue;
      in_epilogue += is_apart ? 0 : 1;
      const Values g = tester.run(plain_of(*kernel), graph.convolution, {inputs[0], inputs[1]},
                                  plain_variant(variant));
      std::vector<Values> norm_inputs = {g};
      norm_inputs.insert(norm_inputs.end(), inputs.begin() + 2, inputs.end());
      const std::vector<Values> want = tester.run_all(norm, graph.norm, norm_inputs, "apart");
      const std::vector<Values> got = tester.run_all(*kernel, graph.joined, inputs, variant);
      if (is_apart) {
        EXPECT_EQ(got, want);
      } else {
        expect_near(got, want, request_of(graph.joined).outputs[0].dtype);
        EXPECT_EQ(tester.run_all(*kernel, graph.joined, inputs, variant), got);
      }
    }
  }
  return in_epilogue;
}

void check_all(int64_t pack, Stored stored, int epilogues, const Options& options = {}) {
  for (const NormCase& c : cases_in_packs(pack)) {
    SCOPED_TRACE(c.convolution.name);
    const Graph graph(c, stored, true, true);
    EXPECT_EQ(check(graph, graph.inputs(), options), epilogues);
  }
}

TEST_F(ConvNormGradKernels, AgreeWithThePlainOnes) { check_all(4, {DType::f32, DType::f32}, 2); }

TEST_F(ConvNormGradKernels, OnTensorCoresToo) {
  check_all(4, {DType::f32, DType::f32}, 5, {.tf32 = true});
  check_all(8, {DType::bf16, DType::bf16}, 3);
}

TEST_F(ConvNormGradKernels, WithoutABiasOrItsGradient) {
  for (const NormCase& c : cases_in_packs(4)) {
    SCOPED_TRACE(c.convolution.name);
    if (c.convolution.x[1] > 3) continue;  // those that take long
    for (const bool has_bias : {false, true}) {
      const Graph graph(c, {DType::f32, DType::f32}, has_bias, false);
      EXPECT_EQ(check(graph, graph.inputs()), 2);
    }
  }
}

// Where x is stored otherwise than its relu, the sums are taken apart.
TEST_F(ConvNormGradKernels, OfMixedStorage) {
  for (const Stored& stored : {Stored{DType::bf16, DType::f32}, {DType::f32, DType::bf16}}) {
    const Graph graph({{"", {32, 2, 3, 8}, {2, 2, 8, 8}}, kTwo}, stored, true, true);
    EXPECT_EQ(check(graph, graph.inputs()), 0);
  }
}

// So are those of windows that kernels do not know.
TEST_F(ConvNormGradKernels, OfOtherWindows) {
  for (const PoolAttributes& pool : {PoolAttributes{.window = {3, 2}, .stride = {3, 2}},
                                     PoolAttributes{.window = {2, 2}, .stride = {3, 3}},
                                     PoolAttributes{.window = {1, 1}, .stride = {2, 2}}}) {
    const Graph graph({{"", {32, 3, 4, 12}, {2, 2, 12, 8}}, pool}, {DType::f32, DType::f32}, true,
                      false);
    EXPECT_EQ(check(graph, graph.inputs()), 0);
  }
}

TEST_F(ConvNormGradKernels, NothingComesThroughAChannelThatReluKills) {
  for (const NormCase& c : cases_in_packs(4)) {
    SCOPED_TRACE(c.convolution.name);
    const Graph graph(c, {DType::f32, DType::f32}, true, true);
    std::vector<Values> inputs = graph.inputs();
    inputs[4][1] = -1e3;  // the offset
    check(graph, inputs);
    const std::vector<Values> got =
        LibraryTester().run_all(*kernels(graph.joined)[0], graph.joined, inputs);
    EXPECT_EQ(got[1][1], 0);
    EXPECT_EQ(got[2][1], 0);
    EXPECT_NE(got[2][0], 0);
  }
}

// 72 blocks of images, in groups, or 36 of pixels for each of 5 tiles of channels.
TEST_F(ConvNormGradKernels, OfManyBlocksAndChannels) {
  const Graph graph({{"", {32, 9, 8, 100}, {1, 1, 100, 4}}}, {DType::f32, DType::f32}, true, true);
  EXPECT_EQ(check(graph, graph.inputs(), {}, true), 2);
}

TEST_F(ConvNormGradKernels, GiveTheSameBitsInAnyOrder) {
  for (const NormCase& c : cases_in_packs(4)) {
    SCOPED_TRACE(c.convolution.name);
    const Graph graph(c, {DType::f32, DType::f32}, true, true);
    for (const char* variant : {"64x24", "64x24-pixels"}) {
      expect_same_in_any_order([&] {
        return LibraryTester().run_all(*kernels(graph.joined)[0], graph.joined, graph.inputs(),
                                       variant);
      });
    }
  }
}

TEST_F(ConvNormGradKernels, AreThoseOfThePlainOnes) {
  const std::string_view gemm = "adjoint.conv2d_input_grad_gemm_norm";
  const std::string_view cudnn = "cudnn.conv2d_input_grad_norm";
  const auto names_of = [](const NormCase& c, Stored stored, bool bias_sum = false) {
    std::vector<std::string_view> found;
    const Graph graph(c, stored, bias_sum, bias_sum);
    for (const KernelDef* kernel : kernels(graph.joined)) found.push_back(kernel->name);
    return found;
  };
  using testing::ElementsAre;
  const auto none = testing::IsEmpty();
  const NormCase packs{{"", {32, 4, 4, 8}, {3, 3, 8, 8}}, kTwo};
  const NormCase few{{"", {31, 4, 4, 8}, {3, 3, 8, 8}}, kTwo};
  const NormCase gaps{packs.convolution, {.window = {2, 2}, .stride = {3, 3}}};
  EXPECT_THAT(names_of(packs, {DType::f32, DType::f32}), ElementsAre(gemm, cudnn, gemm));
  EXPECT_THAT(names_of(packs, {DType::bf16, DType::bf16}), ElementsAre(gemm, cudnn, gemm));
  EXPECT_THAT(names_of(few, {DType::f32, DType::f32}), ElementsAre(cudnn));
  EXPECT_THAT(names_of(packs, {DType::f64, DType::f64, DType::f64}), none);
  EXPECT_THAT(names_of(packs, {DType::f16, DType::f16}), none);
  EXPECT_THAT(names_of(gaps, {DType::f32, DType::f32}), ElementsAre(gemm, cudnn, gemm));
  EXPECT_THAT(names_of(gaps, {DType::f32, DType::f32}, true), none);
}

TEST_F(ConvNormGradKernels, HaveThePlainOnesVariants) {
  const auto variants = [](const Graph& graph, bool tf32) {
    LibraryTester tester({.tf32 = tf32});
    tester.context().properties.shared_bytes = 227 << 10;  // an H100's
    std::vector<std::string> found;
    for (const KernelDef* kernel : kernels(graph.joined)) {
      const bool is_cudnn = kernel->name.starts_with("cudnn.");
      for (const std::string& variant : tester.variants(*kernel, graph.joined)) {
        found.push_back(is_cudnn ? "cudnn" : variant);
      }
    }
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  };
  const Case packs = {"", {32, 4, 4, 8}, {3, 3, 8, 8}},
             wide = {"", {32, 1, 1, 1540}, {1, 1, 1540, 4}};
  const Graph graph({packs, kTwo}, {DType::f32, DType::f32}, false, false);
  const Graph unknown({packs, {.window = {2, 2}, .stride = {3, 3}}}, {DType::f32, DType::f32},
                      false, false);
  using testing::ElementsAre;
  EXPECT_THAT(variants(graph, false),
              ElementsAre("64x24", "64x24-apart", "64x24-pixels", "64x24-pixels-apart", "cudnn"));
  EXPECT_THAT(variants(graph, true),
              ElementsAre("tf32", "tf32-apart", "tf32-pixels", "tf32-pixels-apart", "tf32-resident",
                          "tf32-resident-apart", "cudnn", "64x24", "64x24-apart", "64x24-pixels",
                          "64x24-pixels-apart"));
  const auto apart = ElementsAre("64x24-apart", "64x24-pixels-apart", "cudnn");
  EXPECT_THAT(variants(unknown, false), apart);
  // 65 tiles of channels.
  EXPECT_THAT(variants(Graph({wide}, {DType::f32, DType::f32}, false, false), false), apart);

  LibraryTester tester;
  const auto expect_refused = [&](const Graph& graph, size_t kernel, const char* variant) {
    KernelRequest request = request_of(graph.joined);
    request.variant = variant;
    EXPECT_THROW(kernels(graph.joined)[kernel]->describe(request, tester.context()), PlanError);
    EXPECT_THROW(kernels(graph.joined)[kernel]->prepare(request, tester.context()), PlanError);
  };
  for (const char* variant : {"tf32", "tf32-apart", "bf16", "apart", "77"}) {
    expect_refused(graph, 0, variant);
    expect_refused(graph, 1, variant);
  }
  expect_refused(unknown, 0, "64x24");
  expect_refused(unknown, 0, "tf32-apart");
}

#ifdef ADJOINT_FAKE_CUDA
// The sums in the epilogue save a launch.
TEST_F(ConvNormGradKernels, AreTwoLaunchesOrThree) {
  const Graph graph({{"", {32, 4, 4, 8}, {3, 3, 8, 8}}, kTwo}, {DType::f32, DType::f32}, true,
                    true);
  const auto launches = [&](const char* variant) {
    fake_cuda::reset();
    LibraryTester().run_all(*kernels(graph.joined)[0], graph.joined, graph.inputs(), variant);
    return fake_cuda::launches();
  };
  using testing::ElementsAre, testing::Pair;
  EXPECT_THAT(launches("64x24"),
              ElementsAre(Pair("conv_gemm_input_grad_sums", 1), Pair("norm_grad_write", 1)));
  EXPECT_THAT(launches("64x24-apart"),
              ElementsAre(Pair("conv_gemm_input_grad", 1), Pair("norm_grad_sums", 1),
                          Pair("norm_grad_write", 1)));
}
#endif

}  // namespace
}  // namespace adjoint::cuda
