// The filter's gradient of a thin convolution with that of batch norm behind it, perhaps with the
// input's gradient of the next convolution, against the plain kernels one after the other. These
// take the same sums in the same order, but for tensor cores: all bits are equal.
#include "runtime/cuda/norm_filter_grad.h"

#include <cmath>

#include "runtime/cuda/kernels/conv_tester.h"
#include "runtime/cuda/kernels/norm_grad_tester.h"

namespace adjoint::cuda {
namespace {

struct FilterCase {
  Case convolution;
  PoolAttributes pool = {};  // behind it; no window: none
};

// Around tiles of some rows, and of 6 pixels in a row, and in blocks of several tiles.
std::vector<FilterCase> cases() {
  const auto same = Padding::same;
  return {
      {{"one window", {1, 6, 6, 1}, {5, 5, 1, 8}}, kTwo},
      {{"one pixel", {1, 3, 3, 1}, {3, 3, 1, 16}}},
      {{"ragged tiles", {3, 14, 26, 1}, {5, 5, 1, 24}}, kTwo},
      {{"ragged tiles of pixels", {3, 9, 13, 1}, {5, 5, 1, 24}}},
      {{"tiles across", {1, 6, 58, 1}, {3, 3, 1, 64}}, kTwo},
      {{"channels of x, same", {2, 8, 14, 2}, {3, 7, 2, 16}, {.padding = same}}, kTwo},
      {{"no pool, same", {2, 7, 9, 3}, {3, 3, 3, 8}, {.padding = same}}},
      {{"pixels as windows", {3, 5, 7, 1}, {2, 3, 1, 8}}, {.window = {1, 1}, .stride = {1, 1}}},
      {{"uneven pads", {2, 5, 6, 1}, {3, 5, 1, 8}, padded({1, 2, 4, 2})}, kTwo},
      {{"more tiles than blocks", {300, 4, 4, 1}, {3, 3, 1, 8}}, kTwo},
  };
}

// Images large enough for the next convolution's input gradient.
FilterCase behind_case(int64_t channels, int64_t batch = 33) {
  return {{"", {batch, 6, 10, 1}, {3, 3, 1, channels}}, kTwo};
}

// The joined region and its parts: the gradient (batch norm's, or with the convolution behind) and
// the filter's.
struct Graph {
  Block block{"test"};
  Value joined, grad, filter_grad;

  Graph(const FilterCase& c, const NormOptions& others, bool has_convolution = false) {
    NormOptions options = others;
    options.pool = c.pool;
    const DType stored = options.stored.x;
    const Type images = {stored, Shape::of(c.convolution.x)};
    const Shape filter = Shape::of(c.convolution.filter);
    Block shapes("shapes");
    const Value y = conv2d(shapes.argument("x", images), shapes.argument("f", {stored, filter}),
                           c.convolution.attributes);
    Dims pooled = y.shape().static_dims();
    for (size_t i = 0; i < c.pool.window.size(); ++i) {
      pooled[1 + i] = (pooled[1 + i] - c.pool.window[i]) / c.pool.stride[i] + 1;
    }
    const Type dy = {options.stored.y, Shape::of(pooled)};
    std::vector<Type> types = {dy};
    if (has_convolution) {
      types = {{dy.dtype, {pooled[0], pooled[1] - 1, pooled[2] - 1, 8}},
               {dy.dtype, {8, 2, 2, pooled[3]}}};
    }
    x_ = 1 + types.size();
    const auto norm_types = norm_operands(y.shape().static_dims(), options);
    types.insert(types.end(), norm_types.begin(), norm_types.end());
    const auto gradients = [&](const ValueList& a) {
      if (!has_convolution) return norm_grad(a[0], {a.begin() + 1, a.end()}, options);
      const Value g = conv2d_input_grad(a[0], transpose(a[1], {1, 2, 3, 0}), dy.shape);
      return norm_grad(g, {a.begin() + 2, a.end()}, options);
    };
    grad = make_region(block, types, gradients);
    filter_grad = conv2d_filter_grad(block.argument("images", images),
                                     block.argument("dx", {stored, y.shape()}), filter,
                                     c.convolution.attributes);
    types.insert(types.begin(), images);
    joined = make_region(block, types, [&](const ValueList& a) {
      ValueList results = gradients({a.begin() + 1, a.end()});
      results[0] = conv2d_filter_grad(a[0], results[0], filter, c.convolution.attributes);
      return results;
    });
  }

  std::vector<Values> inputs() const {
    std::vector<Values> result;
    for (const ValueId operand : joined.node().operands) {
      result.push_back(random_values(block.type(operand), 1 + result.size()));
    }
    for (double& variance : result[x_ + 4]) variance = 0.5 + std::abs(variance);
    return result;
  }
  size_t offset() const { return x_ + 2; }

 private:
  size_t x_ = 0;  // among the joined region's operands
};

std::vector<const KernelDef*> kernels(const Graph& graph) {
  return kernels_for(norm_filter_grad_kernels(), graph.joined);
}

// The kernel of the gradient that a kernel goes on behind.
const KernelDef& plain_of(const KernelDef& kernel, const Graph& graph) {
  const std::string_view name = kernel.name.substr(0, kernel.name.size() - 7);  // without _filter
  for (const auto& family : {conv_norm_grad_kernels(), norm_relu_kernels()}) {
    for (const KernelDef* plain : kernels_for(family, graph.grad)) {
      if (plain->name == name) return *plain;
    }
  }
  throw std::runtime_error("there is no " + std::string(name));
}

// Its variant that takes the same sums.
std::string plain_variant(const std::string& variant) {
  const std::string plain =
      variant.substr(0, std::min(variant.find("-dx"), variant.find("-tensor")));
  return plain == "tiles" ? "apart" : plain;
}

using NormFilterGradKernels = Conv;

// Of numbers up to 1 and dx, each rounded to TF32, or of bf16, and the result rounded to that.
void expect_near(const Values& got, const Values& want, const Values& dx, const Type& filter) {
  const int64_t channels = filter.shape.static_dims().back();
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    double sum = 0;
    for (size_t k = i % channels; k < dx.size(); k += channels) sum += std::abs(dx[k]);
    const double rounding =
        filter.dtype == DType::bf16 ? std::abs(want[i]) / 128 + 1e-6 * sum : std::ldexp(sum, -10);
    ASSERT_NEAR(got[i], want[i], rounding) << i;
  }
}

// Every kernel with every variant; returns their names.
std::vector<std::string> check(const Graph& graph, const std::vector<Values>& inputs,
                               const Options& options = {}) {
  LibraryTester tester(options);
  std::vector<std::string> names;
  for (const KernelDef* kernel : kernels(graph)) {
    for (const std::string& variant : tester.variants(*kernel, graph.joined)) {
      SCOPED_TRACE(names.emplace_back(std::string(kernel->name) + "#" + variant));
      const KernelDef& plain = plain_of(*kernel, graph);
      std::vector<Values> want = tester.run_all(
          plain, graph.grad, {inputs.begin() + 1, inputs.end()}, plain_variant(variant));
      const Values dx = want[0];
      want[0] = tester.run(kernel_named("adjoint.conv2d_filter_grad_thin"), graph.filter_grad,
                           {inputs[0], dx});
      std::vector<Values> got = tester.run_all(*kernel, graph.joined, inputs, variant);
      if (variant.ends_with("-tensor")) {
        expect_near(got[0], want[0], dx, graph.filter_grad.type());
        got[0] = want[0];
      }
      EXPECT_EQ(got, want);
    }
  }
  return names;
}

constexpr Stored kFloats = {DType::f32, DType::f32}, kBf16s = {DType::bf16, DType::bf16};

// On tensor cores, where floats may be rounded and the filter sees few values, about those.
TEST_F(NormFilterGradKernels, GiveThePlainOnesBits) {
  const std::string name = "adjoint.norm_relu_grad_filter#";
  for (const FilterCase& c : cases()) {
    SCOPED_TRACE(c.convolution.name);
    const Dims& f = c.convolution.filter;
    const bool is_small = f[0] * f[1] * f[2] <= 32 && f[3] <= 32;
    for (const Stored& stored : {kFloats, kBf16s}) {
      for (const bool tf32 : {false, true}) {
        const Graph graph(c, {.stored = stored});
        std::vector<std::string> names = {name + "tiles", name + "tiles-dx"};
        if (is_small && (tf32 || stored.x == DType::bf16)) {
          names.insert(names.begin(), name + "tiles-tensor");
        }
        EXPECT_EQ(check(graph, graph.inputs(), {.tf32 = tf32}), names);
      }
    }
  }
}

TEST_F(NormFilterGradKernels, WithoutABiasOrItsGradient) {
  for (const FilterCase& c : cases()) {
    SCOPED_TRACE(c.convolution.name);
    for (const bool has_bias : {false, true}) {
      const Graph graph(c, {.stored = kFloats, .has_bias = has_bias, .bias_sum = false});
      EXPECT_EQ(check(graph, graph.inputs()).size(), 2);
    }
  }
}

TEST_F(NormFilterGradKernels, WithTheConvolutionBehind) {
  const Graph graph(behind_case(8), {.stored = kFloats}, true);
  const auto inputs = graph.inputs();
  // Ours with the sums in the epilogue and apart, for each kind of rows; cuDNN's.
  EXPECT_EQ(check(graph, inputs).size(), 2 * (4 + 1));
  EXPECT_EQ(check(graph, inputs, {.tf32 = true}).size(), 3 * (6 + 1 + 4));
  const Graph narrow(behind_case(8), {.stored = kBf16s, .has_bias = false, .bias_sum = false},
                     true);
  EXPECT_EQ(check(narrow, narrow.inputs()).size(), 3 * (6 + 1));
}

TEST_F(NormFilterGradKernels, NothingComesThroughAChannelThatReluKills) {
  const Graph graph(cases()[2], {.stored = kFloats});
  std::vector<Values> inputs = graph.inputs();
  inputs[graph.offset()][1] = -1e3;
  check(graph, inputs);
  const Values got = LibraryTester().run(*kernels(graph)[0], graph.joined, inputs);
  for (size_t i = 0; i < got.size(); i += 24) {
    EXPECT_EQ(got[i + 1], 0);
    EXPECT_NE(got[i], 0);
  }
}

TEST_F(NormFilterGradKernels, GiveTheSameBitsInAnyOrder) {
  for (const FilterCase& c : cases()) {
    SCOPED_TRACE(c.convolution.name);
    const Graph graph(c, {.stored = kFloats});
    for (const bool tf32 : {false, true}) {
      expect_same_in_any_order([&] {
        return LibraryTester({.tf32 = tf32})
            .run_all(*kernels(graph)[0], graph.joined, graph.inputs());
      });
    }
  }
}

// The first, if any.
std::string_view kernel_of(const FilterCase& c, const NormOptions& options,
                           bool has_convolution = false) {
  const Graph graph(c, options, has_convolution);
  const auto found = kernels(graph);
  return found.empty() ? "none" : found[0]->name;
}

TEST_F(NormFilterGradKernels, AreForKnownWindowsOfOneStorageAndThinConvolutions) {
  const NormOptions floats = {.stored = kFloats, .bias_sum = false};
  const std::string_view ours = "adjoint.norm_relu_grad_filter", none = "none";
  const Case thin = {"", {2, 8, 8, 1}, {3, 3, 1, 8}};
  EXPECT_EQ(kernel_of({thin, kTwo}, floats), ours);
  EXPECT_EQ(kernel_of(behind_case(8), floats, true), "adjoint.conv2d_input_grad_gemm_norm_filter");
  EXPECT_EQ(kernel_of(behind_case(8, 2), floats, true), "cudnn.conv2d_input_grad_norm_filter");
  // Pixels that no window covers, with and without gaps; other windows.
  EXPECT_EQ(kernel_of({{"", {2, 9, 8, 1}, {3, 3, 1, 8}}, kTwo}, floats), none);
  EXPECT_EQ(kernel_of({thin, {.window = {2, 2}, .stride = {3, 3}}}, floats), none);
  EXPECT_EQ(kernel_of({thin, {.window = {1, 1}, .stride = {2, 2}}}, floats), none);
  EXPECT_EQ(kernel_of({thin, {.window = {3, 3}, .stride = {3, 3}}}, floats), none);
  EXPECT_EQ(kernel_of({thin, kTwo}, {.stored = {DType::f32, DType::bf16}}), none);
  EXPECT_EQ(kernel_of({thin, kTwo}, {.stored = {DType::bf16, DType::f32}}), none);
  EXPECT_EQ(kernel_of({thin, kTwo}, {.stored = {DType::f64, DType::f64, DType::f64}}), none);
  EXPECT_EQ(kernel_of({{"", {2, 8, 8, 1}, {3, 3, 1, 12}}, kTwo}, floats), none);
}

TEST_F(NormFilterGradKernels, KnowTheirVariants) {
  const Graph alone(cases()[0], {.stored = kFloats}), behind(behind_case(8), {kFloats}, true);
  LibraryTester tester;
  const auto expect_refused = [&](const Graph& graph, const char* variant) {
    KernelRequest request = request_of(graph.joined);
    request.variant = variant;
    EXPECT_THROW(kernels(graph)[0]->describe(request, tester.context()), PlanError) << variant;
    EXPECT_THROW(kernels(graph)[0]->prepare(request, tester.context()), PlanError) << variant;
  };
  for (const char* variant : {"64x24", "tiles-apart", "apart", "tiles-tensor", "tiles-tensor-dx"}) {
    expect_refused(alone, variant);
  }
  for (const char* variant : {"tiles", "tf32-dx", "64x24-dx-apart"}) {
    expect_refused(behind, variant);
  }
}

// What is written and read between is all that the facts differ in.
TEST_F(NormFilterGradKernels, SayWhatTheyMove) {
  const Graph graph(cases()[0], {.stored = kFloats});
  LibraryTester tester;
  const auto bytes = [&](const char* variant) {
    KernelRequest request = request_of(graph.joined);
    request.variant = variant;
    return kernels(graph)[0]->describe(request, tester.context()).bytes;
  };
  // 36 of the images, 200 of the filter; dy of a pixel, x of four, in eight channels; three results
  // and five operands that are vectors.
  EXPECT_EQ(bytes("tiles"), 4 * (36 + 200 + 8 + 4 * 8 + 8 * 8));
  EXPECT_EQ(bytes("tiles-dx"), 4 * (36 + 200 + 8 + 3 * 4 * 8 + 8 * 8));
}

#ifdef ADJOINT_FAKE_CUDA
TEST_F(NormFilterGradKernels, SaveALaunch) {
  const Graph graph(behind_case(8), {.stored = kFloats}, true);
  const auto launches = [&](const char* variant) {
    fake_cuda::reset();
    LibraryTester().run_all(*kernels(graph)[0], graph.joined, graph.inputs(), variant);
    return fake_cuda::launches();
  };
  using testing::ElementsAre, testing::Pair;
  EXPECT_THAT(launches(""), ElementsAre(Pair("conv_gemm_input_grad_sums", 1),
                                        Pair("conv_thin_norm_filter_grad", 1)));
  EXPECT_THAT(launches("64x24-dx"),
              ElementsAre(Pair("conv_gemm_input_grad_sums", 1), Pair("conv_thin_filter_grad", 1),
                          Pair("norm_grad_write", 1)));
}
#endif

}  // namespace
}  // namespace adjoint::cuda
