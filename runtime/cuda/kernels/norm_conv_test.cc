// A convolution with batch norm in front of it, against the plain kernels one after the other.
// These compute the same in the same order: all bits are equal.
#include "runtime/cuda/norm_conv.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/cuda/kernels/conv_tester.h"
#include "runtime/cuda/kernels/norm_grad_tester.h"

namespace adjoint::cuda {
namespace {

// The convolution's x is what the pool leaves of batch norm's.
struct NormCase {
  Case convolution;
  PoolAttributes pool = {};  // no window: none
};

struct Biases {
  bool norm = true, convolution = true;
};

// A region of both, and each by itself.
struct Graph {
  Block block{"test"};
  Value joined, norm, convolution;

  Graph(const NormCase& c, Stored stored, const Biases& biases = {}) {
    const Dims& f = c.convolution.filter;
    Dims x = c.convolution.x;
    for (size_t i = 0; i < c.pool.window.size(); ++i) x[1 + i] *= c.pool.stride[i];
    const std::vector<Type> front =
        norm_operands(x, {.stored = stored, .pool = c.pool, .has_bias = biases.norm});
    std::vector<Type> back = {{stored.y, {f[3], f[0], f[1], f[2]}}};
    back.insert(back.end(), biases.convolution ? 3 : 2, {stored.vectors, {f[3]}});
    const auto normalised = [&](const ValueList& a) {
      const Value wide = as(a[0], stored.vectors);
      const Value sum = biases.norm ? wide + a[5] : wide;
      const Value r = relu(batch_norm_inference(sum, a[1], a[2], a[3], a[4], 1e-3));
      return as(c.pool.window.empty() ? r : max_pool(r, c.pool), stored.y);
    };
    const auto convolved = [&](const Value& r, const ValueList& a) -> ValueList {
      const Value y = conv2d(r, transpose(a[0], {1, 2, 3, 0}), c.convolution.attributes);
      const Value wide = as(y, stored.vectors);
      const Normalized n = batch_norm(biases.convolution ? wide + a[3] : wide, a[1], a[2]);
      return {y, n.mean, n.variance};
    };
    norm_inputs = front.size();
    norm = make_region(block, front, [&](const ValueList& a) { return ValueList{normalised(a)}; });
    std::vector<Type> types = {norm.type()};
    types.insert(types.end(), back.begin(), back.end());
    convolution = make_region(block, types, [&](const ValueList& a) {
      return convolved(a[0], {a.begin() + 1, a.end()});
    });
    types = front;
    types.insert(types.end(), back.begin(), back.end());
    joined = make_region(block, types, [&](const ValueList& a) {
      ValueList results = {normalised({a.begin(), a.begin() + norm_inputs})};
      for (const Value& value : convolved(results[0], {a.begin() + norm_inputs, a.end()})) {
        results.push_back(value);
      }
      return results;
    });
  }

  // The variance is positive; the convolution's scale and offset are not read.
  std::vector<Values> inputs() const {
    std::vector<Values> result;
    for (const ValueId operand : joined.node().operands) {
      result.push_back(random_values(block.type(operand), 1 + result.size()));
    }
    for (double& variance : result[4]) variance = 0.5 + std::abs(variance);
    for (const size_t unread : {norm_inputs + 1, norm_inputs + 2}) {
      result[unread].assign(result[unread].size(), std::numeric_limits<double>::quiet_NaN());
    }
    return result;
  }

  size_t norm_inputs = 0;
};

// Channels in whole packs of so many: images that do not fill a tile, and tiles of channels.
std::vector<NormCase> cases_in_packs(int64_t pack) {
  const auto same = Padding::same;
  std::vector<NormCase> cases = {
      {{"one pixel", {1, 1, 1, 4}, {1, 1, 4, 4}}},
      {{"one window", {1, 1, 1, 4}, {1, 1, 4, 4}}, kTwo},
      {{"more channels than a tile, pool", {2, 7, 5, 12}, {3, 2, 12, 52}}, kTwo},
      {{"more channels than a tile", {2, 7, 5, 12}, {3, 2, 12, 52}}},
      {{"all rows of a tile, pool", {2, 10, 9, 8}, {3, 2, 8, 4}}, kTwo},
      {{"same", {3, 5, 7, 4}, {3, 3, 4, 12}, {.padding = same}}},
      {{"same, pool", {3, 5, 7, 4}, {3, 3, 4, 12}, {.padding = same}}, kTwo},
      {{"dilation, stride, same, pool",
        {2, 9, 10, 12},
        {3, 3, 12, 8},
        {.stride = {2, 2}, .dilation = {2, 3}, .padding = same}},
       kTwo},
      {{"uneven pads, pool", {2, 4, 5, 4}, {2, 3, 4, 12}, padded({2, 1, 3, 2})}, kTwo},
      {{"pixels that no filter sees, pool", {2, 12, 12, 4}, {3, 3, 4, 4}, {.stride = {2, 2}}},
       kTwo},
      {{"blocks in groups, pool", {66, 2, 3, 4}, {2, 2, 4, 4}}, kTwo},
      {{"pixels as windows", {3, 3, 2, 4}, {2, 2, 4, 4}}, {.window = {1, 1}, .stride = {1, 1}}},
  };
  for (NormCase& c : cases) c.convolution = widened({c.convolution}, pack)[0];
  return cases;
}

std::vector<const KernelDef*> kernels(Value result) {
  return kernels_for(norm_conv_kernels(), result);
}

std::string erased(std::string_view name, std::string_view part) {
  std::string result(name);
  const size_t at = result.find(part);
  return at == std::string::npos ? result : result.erase(at, part.size());
}

using NormConvKernels = Conv;

// Every kernel with every variant; returns how many are of one launch.
int check(const Graph& graph, const std::vector<Values>& inputs, const Options& options) {
  LibraryTester tester(options);
  const KernelDef& norm = *kernels_for(norm_relu_kernels(), graph.norm)[0];
  const auto behind = inputs.begin() + static_cast<ptrdiff_t>(graph.norm_inputs);
  const Values r = tester.run(norm, graph.norm, {inputs.begin(), behind});
  std::vector<Values> others = {r};
  others.insert(others.end(), behind, inputs.end());
  int in_one = 0;
  for (const KernelDef* kernel : kernels(graph.joined)) {
    const KernelDef& plain = kernel_named(erased(kernel->name, "norm_"));
    for (const std::string& variant : tester.variants(*kernel, graph.joined)) {
      SCOPED_TRACE(std::string(kernel->name) + "#" + variant);
      in_one += variant.ends_with("-norm") ? 0 : 1;
      std::vector<Values> want =
          tester.run_all(plain, graph.convolution, others, erased(variant, "-norm"));
      want.insert(want.begin(), r);
      EXPECT_EQ(tester.run_all(*kernel, graph.joined, inputs, variant), want);
    }
  }
  return in_one;
}

void check_all(int64_t pack, DType dtype, const Options& options = {}) {
  for (const NormCase& c : cases_in_packs(pack)) {
    SCOPED_TRACE(c.convolution.name);
    const Graph graph(c, {dtype, dtype});
    EXPECT_EQ(check(graph, graph.inputs(), options), 1);
  }
}

TEST_F(NormConvKernels, AreThePlainOnesInBf16) { check_all(8, DType::bf16); }

TEST_F(NormConvKernels, AreThePlainOnesInTf32) { check_all(4, DType::f32, {.tf32 = true}); }

TEST_F(NormConvKernels, WithoutBiases) {
  for (const NormCase& c : cases_in_packs(8)) {
    SCOPED_TRACE(c.convolution.name);
    if (c.convolution.x[0] > 3 || c.convolution.x[2] > 5) continue;  // those that take long
    for (const Biases& biases : {Biases{false, false}, {false, true}, {true, false}}) {
      const Graph graph(c, {DType::bf16, DType::bf16}, biases);
      EXPECT_EQ(check(graph, graph.inputs(), {}), 1);
    }
  }
}

// The moments are the same whichever block comes last, and all of what is normalised is stored.
TEST_F(NormConvKernels, GiveTheSameBitsInAnyOrder) {
  for (const NormCase& c : cases_in_packs(8)) {
    if (c.convolution.x[0] != 66 && c.convolution.filter[3] != 104) continue;
    SCOPED_TRACE(c.convolution.name);
    const Graph graph(c, {DType::bf16, DType::bf16});
    expect_same_in_any_order([&] {
      return LibraryTester().run_all(*kernels(graph.joined)[0], graph.joined, graph.inputs());
    });
  }
}

const NormCase kPacks{{"", {2, 5, 5, 8}, {3, 3, 8, 8}}, kTwo};

TEST_F(NormConvKernels, AreThoseOfThePlainOnes) {
  const std::string_view gemm = "adjoint.norm_conv2d_gemm_moments";
  const std::string_view cudnn = "cudnn.norm_conv2d_moments";
  const auto names_of = [](const NormCase& c, const Stored& stored) {
    std::vector<std::string_view> found;
    const Graph graph(c, stored);
    for (const KernelDef* kernel : kernels(graph.joined)) found.push_back(kernel->name);
    return found;
  };
  using testing::ElementsAre;
  const auto none = testing::IsEmpty();
  NormCase odd = kPacks, gaps = kPacks;
  odd.convolution.x[3] = odd.convolution.filter[2] = 7;
  gaps.pool = {.window = {2, 2}, .stride = {3, 3}};
  EXPECT_THAT(names_of(kPacks, {DType::f32, DType::f32}), ElementsAre(gemm, cudnn, gemm));
  EXPECT_THAT(names_of(kPacks, {DType::bf16, DType::bf16}), ElementsAre(gemm, cudnn, gemm));
  EXPECT_THAT(names_of(kPacks, {DType::f32, DType::bf16}), none);
  EXPECT_THAT(names_of(kPacks, {DType::bf16, DType::f32}), none);
  EXPECT_THAT(names_of(kPacks, {DType::f64, DType::f64, DType::f64}), none);
  EXPECT_THAT(names_of(odd, {DType::f32, DType::f32}), none);
  EXPECT_THAT(names_of(gaps, {DType::f32, DType::f32}), none);
}

// None without tensor cores, nor where image and filter have no room.
TEST_F(NormConvKernels, AreThoseOfOneLaunchFirst) {
  const auto variants = [](const NormCase& c, DType dtype, const Options& options,
                           size_t shared_bytes) {
    LibraryTester tester(options);
    tester.context().properties.shared_bytes = shared_bytes;
    const Graph graph(c, {dtype, dtype});
    std::vector<std::string> found;
    for (const KernelDef* kernel : kernels(graph.joined)) {
      const bool is_cudnn = kernel->name.starts_with("cudnn.");
      for (const std::string& variant : tester.variants(*kernel, graph.joined)) {
        found.push_back(is_cudnn ? "cudnn" + variant.substr(variant.find('-')) : variant);
      }
    }
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  };
  using testing::ElementsAre;
  constexpr size_t kSums = 96 << 10;  // of a tile's warps
  EXPECT_THAT(variants(kPacks, DType::bf16, {}, kSums),
              ElementsAre("bf16-resident", "bf16-norm", "bf16-apart-norm", "bf16-resident-norm",
                          "bf16-resident-apart-norm", "cudnn-norm"));
  EXPECT_THAT(
      variants(kPacks, DType::f32, {.tf32 = true}, kSums),
      ElementsAre("tf32-resident", "tf32-norm", "tf32-apart-norm", "tf32-resident-norm",
                  "tf32-resident-apart-norm", "cudnn-norm", "64x48-norm", "64x48-apart-norm"));
  NormCase large = kPacks;
  large.convolution.x[1] = large.convolution.x[2] = 11;  // 81 pixels of y
  EXPECT_THAT(variants(kPacks, DType::f32, {}, kSums), testing::IsEmpty());
  EXPECT_THAT(variants(kPacks, DType::bf16, {}, kSums - 1), testing::IsEmpty());
  EXPECT_THAT(variants(large, DType::bf16, {}, 2 * kSums), testing::IsEmpty());
}

TEST_F(NormConvKernels, RefuseUnknownVariants) {
  LibraryTester tester({.tf32 = true});
  const Graph graph(kPacks, {DType::f32, DType::f32});
  const auto expect_refused = [&](const KernelDef& kernel, const char* variant) {
    SCOPED_TRACE(variant);
    KernelRequest request = request_of(graph.joined);
    request.variant = variant;
    EXPECT_THROW(kernel.describe(request, tester.context()), PlanError);
    EXPECT_THROW(kernel.prepare(request, tester.context()), PlanError);
  };
  for (const KernelDef* kernel : kernels(graph.joined)) {
    for (const char* variant : {"tf32", "bf16-resident", "64x48-resident", "tf32-resident-apart",
                                "norm", "-norm-norm", "77", "77-norm"}) {
      expect_refused(*kernel, variant);
    }
  }
  expect_refused(*kernels(graph.joined)[1], "tf32-resident");
}

#ifdef ADJOINT_FAKE_CUDA
TEST_F(NormConvKernels, AreOneLaunchOrMore) {
  const Graph graph(kPacks, {DType::bf16, DType::bf16});
  const auto launches = [&](const char* variant) {
    fake_cuda::reset();
    LibraryTester().run_all(*kernels(graph.joined)[0], graph.joined, graph.inputs(), variant);
    return fake_cuda::launches();
  };
  using testing::ElementsAre, testing::Pair;
  const auto one = ElementsAre(Pair("conv_gemm_bf16_norm_moments", 1));
  EXPECT_THAT(launches("bf16-resident"), one);
  EXPECT_THAT(launches(""), one);
  EXPECT_THAT(launches("bf16-resident-norm"),
              ElementsAre(Pair("conv_gemm_bf16_moments", 1), Pair("normalize", 1)));
}
#endif

}  // namespace
}  // namespace adjoint::cuda
