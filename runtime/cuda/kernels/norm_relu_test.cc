// The kernels of batch normalisation with relu and max pool, on the regions that the passes make.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graph/block.h"
#include "graph/error.h"
#include "ops/elementwise.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "ops/region.h"
#include "ops/shape.h"
#include "runtime/cuda/kernels/kernel_tester.h"
#include "runtime/patterns.h"
#include "tests/harness/case_graph.h"

#ifdef ADJOINT_FAKE_CUDA
#include "tests/fake_cuda/fake_cuda.h"
#endif

namespace adjoint::cuda {
namespace {

using adjoint::testing::close;
using adjoint::testing::sample;

constexpr double kEpsilon = 1e-3;

struct Case {
  std::vector<int64_t> x;
  PoolAttributes pool;  // no window: none
};

const Case kCases[] = {
    {{3, 8, 8, 24}, {.window = {2, 2}, .stride = {2, 2}}},
    {{2, 7, 9, 5}, {.window = {2, 2}, .stride = {2, 2}}},  // a row and a column left over
    {{1, 6, 7, 17}, {.window = {3, 2}, .stride = {3, 3}}},
    {{5, 2, 2, 16}, {.window = {2, 2}, .stride = {2, 2}}},
    {{2, 9, 20, 33}, {.window = {1, 4}, .stride = {2, 4}}},
    {{2, 3, 3, 1}, {.window = {1, 1}, .stride = {1, 1}}},
    {{2, 5, 5, 2}, {.window = {1, 1}, .stride = {2, 3}}},
    {{1, 2, 2, 1028}, {.window = {2, 2}, .stride = {2, 2}}},  // two tiles of channels
    {{0, 4, 4, 3}, {.window = {2, 2}, .stride = {2, 2}}},
    {{3, 4, 4, 0}, {.window = {2, 2}, .stride = {2, 2}}},
    {{130, 48}, {}},
    {{1025, 4}, {}},  // several blocks for the same channels
    {{5000, 1}, {}},
    {{7, 3}, {}},
    {{2, 3, 5, 20}, {}},
    {{1, 257}, {}},
};

using Values = std::vector<Value>;

Value pooled(Value x, const Case& c) { return c.pool.window.empty() ? x : max_pool(x, c.pool); }

// How x and dx, and y and dy are stored; computed in f64 or f32, as vectors are.
struct Stored {
  DType x, y;

  DType computed() const { return x == DType::f64 ? x : DType::f32; }
};

// A cast where the type is another one.
Value as(Value x, DType dtype) { return x.dtype() == dtype ? x : cast(x, dtype); }

// The regions that the passes of runtime/patterns.h and norm_storage make.
struct Regions {
  Block block{"test"};
  Value forward, backward, inference;

  Regions(const Case& c, DType dtype, bool biased = false, bool bias_sum = false)
      : Regions(c, Stored{dtype, dtype}, biased, bias_sum) {}

  Regions(const Case& c, Stored stored, bool biased = false, bool bias_sum = false)
      : biased_(biased), computed_(stored.computed()) {
    const Type x = {stored.x, Shape::of(c.x)}, channels = {computed_, {Dim(c.x.back())}};
    Type y;
    forward = make({x, channels, channels}, [&](const Values& a) -> Values {
      const Normalized n = batch_norm(sum(a, 0), a[1], a[2], kEpsilon);
      const Value result = as(pooled(relu(n.y), c), stored.y);
      y = result.type();
      return {result, n.mean, n.variance};
    });
    inference = make({x, channels, channels, channels, channels}, [&](const Values& a) -> Values {
      const Value h = batch_norm_inference(sum(a, 0), a[1], a[2], a[3], a[4], kEpsilon);
      return {as(pooled(relu(h), c), stored.y)};
    });
    backward = make({y, x, channels, channels, channels, channels}, [&](const Values& a) -> Values {
      const Value x = sum(a, 1);
      const Value r = relu(batch_norm_inference(x, a[2], a[3], a[4], a[5], kEpsilon));
      const Value dy = as(a[0], computed_);
      const Value dr = c.pool.window.empty() ? dy : max_pool_grad(dy, r, c.pool);
      const NormGradients d = batch_norm_grad(relu_grad(dr, r), x, a[2], a[4], a[5], kEpsilon);
      Values results = {as(d.x, stored.x), d.scale, d.offset};
      if (bias_sum) results.push_back(sum_to(d.x, channels.shape));
      return results;
    });
  }

 private:
  // What is normalised: this argument, with the last one where that is a bias.
  Value sum(const Values& a, int x) const {
    const Value computed = as(a[x], computed_);
    return biased_ ? computed + a.back() : computed;
  }

  Value make(std::vector<Type> operands, std::function<Values(const Values&)> build) {
    if (biased_) operands.push_back(operands.back());
    auto body = std::make_shared<Block>("region");
    Values outer, inner;
    for (const Type& type : operands) {
      outer.push_back(block.argument("a" + std::to_string(block.size()), type));
      inner.push_back(body->argument("a" + std::to_string(inner.size()), type));
    }
    const Values results = build(inner);
    for (size_t i = 0; i < results.size(); ++i) {
      body->result("r" + std::to_string(i), results[i]);
    }
    return region(block, outer, body);
  }

  bool biased_;
  DType computed_;
};

TEST(RegionsTest, AreThoseOfThePasses) {
  const Regions plain(Case{{2, 3}, {}}, DType::f32);
  const Regions with_pool({{2, 4, 4, 3}, {.window = {2, 2}, .stride = {2, 2}}}, DType::f32);
  auto text = [](Value region) { return signature(*region.node().blocks[0]); };
  EXPECT_EQ(text(plain.forward), kNormRelu);
  EXPECT_EQ(text(plain.inference), kInferenceNormRelu);
  EXPECT_EQ(text(plain.backward), kNormReluGrad);
  EXPECT_EQ(text(with_pool.forward), kNormReluPool);
  EXPECT_EQ(text(with_pool.inference), kInferenceNormReluPool);
  EXPECT_EQ(text(with_pool.backward), kNormReluPoolGrad);
  const Regions biased(Case{{2, 3}, {}}, DType::f32, true);
  const Regions both({{2, 4, 4, 3}, {.window = {2, 2}, .stride = {2, 2}}}, DType::f32, true);
  EXPECT_EQ(text(biased.forward), kBiasNormRelu);
  EXPECT_EQ(text(biased.inference), kBiasInferenceNormRelu);
  EXPECT_EQ(text(biased.backward), kBiasNormReluGrad);
  EXPECT_EQ(text(both.forward), kBiasNormReluPool);
  EXPECT_EQ(text(both.inference), kBiasInferenceNormReluPool);
  EXPECT_EQ(text(both.backward), kBiasNormReluPoolGrad);
}

TEST(RegionsTest, TheSameBetweenCasts) {
  const Stored stored{DType::bf16, DType::bf16};
  const Case c{{2, 4, 4, 3}, {.window = {2, 2}, .stride = {2, 2}}};
  const Regions regions(c, stored, true), sums(c, stored, true, true);
  const Regions plain({{2, 3}, {}}, stored, true, true);
  auto text = [](Value region) { return signature_between_casts(*region.node().blocks[0]); };
  EXPECT_EQ(text(regions.forward), kBiasNormReluPool);
  EXPECT_EQ(text(regions.inference), kBiasInferenceNormReluPool);
  EXPECT_EQ(text(regions.backward), kBiasNormReluPoolGrad);
  EXPECT_EQ(text(sums.backward), kBiasNormReluPoolBiasGrad);
  EXPECT_EQ(text(plain.backward), kBiasNormReluBiasGrad);
}

// Inputs for a region: `positive` is the position of the variance.
std::vector<oracle::Tensor> inputs_of(Value region, int positive) {
  std::vector<oracle::Tensor> inputs;
  for (size_t i = 0; i < region.node().operands.size(); ++i) {
    const bool variance = static_cast<int>(i) == positive;
    inputs.push_back(sample(variance ? adjoint::testing::positive() : adjoint::testing::distinct(),
                            region.block().type(region.node().operands[i]), 3 + i));
  }
  return inputs;
}

// In each variant.
void expect_close(Value region, const std::vector<oracle::Tensor>& inputs) {
  const oracle::Outputs want = oracle::evaluate(region.node(), inputs);
  for (const std::string& variant : variants_of(region)) {
    const KernelRun run = run_kernel(region, inputs, variant);
    ASSERT_EQ(run.outputs.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      const double relative = 64 * static_cast<double>(oracle::epsilon(want[i].dtype));
      EXPECT_TRUE(close(run.outputs[i], want[i], relative, 1)) << variant << ", output " << i;
    }
  }
}

class NormReluTest : public ::testing::TestWithParam<std::tuple<int, Stored, bool>> {
 protected:
  const Regions regions{kCases[std::get<0>(GetParam())], std::get<1>(GetParam()),
                        std::get<2>(GetParam())};
};

TEST_P(NormReluTest, Forward) { expect_close(regions.forward, inputs_of(regions.forward, -1)); }
TEST_P(NormReluTest, Backward) { expect_close(regions.backward, inputs_of(regions.backward, 5)); }
TEST_P(NormReluTest, Inference) {
  expect_close(regions.inference, inputs_of(regions.inference, 4));
}

INSTANTIATE_TEST_SUITE_P(Shapes, NormReluTest,
                         ::testing::Combine(::testing::Range(0,
                                                             static_cast<int>(std::size(kCases))),
                                            ::testing::Values(Stored{DType::f32, DType::f32},
                                                              Stored{DType::f64, DType::f64},
                                                              Stored{DType::bf16, DType::bf16},
                                                              Stored{DType::bf16, DType::f32},
                                                              Stored{DType::f32, DType::bf16}),
                                            ::testing::Bool()));

// 66 blocks, more than are joined at once.
TEST(NormReluTest, OfManyRows) {
  const Regions regions(Case{{67000, 1}, {}}, DType::f32);
  expect_close(regions.forward, inputs_of(regions.forward, -1));
  expect_close(regions.backward, inputs_of(regions.backward, 5));
}

constexpr Stored kFloats = {DType::f32, DType::f32}, kDoubles = {DType::f64, DType::f64},
                 kBf16s = {DType::bf16, DType::bf16};
const PoolAttributes kTwo = {.window = {2, 2}, .stride = {2, 2}};

// Several for a thread, the most that there may be, and a rest: of pixels and of windows, in one
// tile of channels and in several, whose last one is narrow.
TEST(NormReluTest, OfManyRowsInOneLaunch) {
  for (const Case& c :
       {Case{{33, 8, 2, 4}, {}}, Case{{2048, 4}, {}}, Case{{512, 5}, {}}, Case{{133, 6}, {}},
        Case{{513, 2, 2, 8}, kTwo}, Case{{8, 32, 32, 4}, kTwo}, Case{{3, 10, 26, 20}, kTwo}}) {
    for (const Stored& stored : {kFloats, kDoubles, kBf16s}) {
      const bool biased = stored.x != DType::f32;
      const Regions regions(c, stored, biased, biased);
      ASSERT_EQ(variants_of(regions.backward)[0], "in-one");
      expect_close(regions.backward, inputs_of(regions.backward, 5));
    }
  }
}

using Names = std::vector<std::string>;

TEST(NormReluTest, OneLaunchIsForRowsThatABlockCanKeep) {
  const auto variants = [](const Case& c, const Stored& stored = kFloats) {
    return variants_of(Regions(c, stored).backward);
  };
  const Names both = {"in-one", "apart"}, apart = {"apart"};
  for (const Stored& stored : {kFloats, kBf16s, Stored{DType::f32, DType::bf16}}) {
    EXPECT_EQ(variants({{128, 8, 8, 48}, kTwo}, stored), both);
    EXPECT_EQ(variants({{129, 8, 8, 48}, kTwo}, stored), apart);
    EXPECT_EQ(variants({{2048, 48}, {}}, stored), both);
    EXPECT_EQ(variants({{2049, 48}, {}}, stored), apart);
  }
  EXPECT_EQ(variants({{512, 21}, {}}), both);
  EXPECT_EQ(variants({{513, 21}, {}}), apart);
  EXPECT_EQ(variants({{2048, 1}, {}}), both);
  EXPECT_EQ(variants({{2048, 2}, {}}, kDoubles), both);
  EXPECT_EQ(variants({{8, 32, 32, 2}, kTwo}, kDoubles), both);
  // A row and a column left over; other windows; channels one by one.
  EXPECT_EQ(variants({{1, 7, 8, 4}, kTwo}), apart);
  EXPECT_EQ(variants({{1, 8, 7, 4}, kTwo}), apart);
  EXPECT_EQ(variants({{1, 6, 6, 4}, {.window = {3, 3}, .stride = {3, 3}}}), apart);
  EXPECT_EQ(variants({{1, 4, 4, 6}, kTwo}), apart);
}

TEST(NormReluTest, KnowsItsVariants) {
  const auto run = [](const Case& c, const char* variant) {
    const Regions regions(c, kFloats);
    run_kernel(regions.backward, inputs_of(regions.backward, 5), variant);
  };
  run({{4, 4}, {}}, "");
  run({{2049, 4}, {}}, "");
  EXPECT_THROW(run({{2049, 4}, {}}, "in-one"), PlanError);
  EXPECT_THROW(run({{4, 4}, {}}, "in-two"), PlanError);
}

#ifdef ADJOINT_FAKE_CUDA
TEST(NormReluTest, AVariantIsItsLaunches) {
  const Regions regions({{5, 8, 8, 8}, kTwo}, kFloats);
  const auto launches = [&](const char* variant) {
    run_kernel(regions.backward, inputs_of(regions.backward, 5), variant);
    return fake_cuda::launches();  // of the last order of blocks
  };
  using Launches = std::map<std::string, int64_t>;
  const Launches one = {{"norm_grad_in_one", 1}};
  EXPECT_EQ(launches(""), one);
  EXPECT_EQ(launches("in-one"), one);
  EXPECT_EQ(launches("apart"), (Launches{{"norm_grad_sums", 1}, {"norm_grad_write", 1}}));
}
#endif

// The bias's gradient, where windows cover the image; mean and variance are any, so that it is far
// from zero.
TEST(NormReluTest, TheSumOfDx) {
  for (const Case& c : {kCases[0], kCases[3], kCases[5], kCases[7], kCases[10], kCases[11],
                        kCases[12], kCases[14], Case{{0, 3}, {}}}) {
    for (const Stored& stored : {Stored{DType::f32, DType::f32}, Stored{DType::f64, DType::f64},
                                 Stored{DType::bf16, DType::bf16}}) {
      const Regions regions(c, stored, true, true);
      expect_close(regions.backward, inputs_of(regions.backward, 5));
    }
  }
}

// A mean that f32 holds exactly, by hand: dx is sum's slope times x - mean alone.
TEST(NormReluTest, TheSumOfDxIsNoneBehindItsOwnNormalisation) {
  const Regions regions({{4, 1}, {}}, DType::f32, true, true);
  std::vector<oracle::Tensor> inputs = inputs_of(regions.backward, 5);
  inputs[1].values = {1, 2, 3, 6};
  inputs[4].values = {3};  // the mean
  inputs[6].values = {0};  // the bias
  EXPECT_EQ(run_kernel(regions.backward, inputs).outputs[3].values[0], 0);
}

// What a pool leaves out is in no window's sum.
TEST(NormReluTest, NoKernelSumsDxOfAPoolThatLeavesPixelsOut) {
  const auto takes = [](Value region) {
    return kernel_for(tested_kernels(), region.node(), region.block()) != nullptr;
  };
  EXPECT_TRUE(takes(Regions(kCases[0], DType::f32, true, true).backward));
  EXPECT_TRUE(takes(Regions(kCases[1], DType::f32, true, false).backward));
  EXPECT_FALSE(takes(Regions(kCases[1], DType::f32, true, true).backward));
}

TEST(NormReluTest, AMeanFarFromZeroKeepsTheVariance) {
  const Regions regions({{1000, 3}, {}}, DType::f32);
  std::vector<oracle::Tensor> inputs = inputs_of(regions.forward, -1);
  for (oracle::Real& value : inputs[0].values) value = 4096 + std::round(value * 64) / 64;
  inputs[0].values[0] = 1e5;  // not near the others either
  const KernelRun run = run_kernel(regions.forward, inputs);
  const oracle::Outputs want = oracle::evaluate(regions.forward.node(), inputs);
  EXPECT_TRUE(close(run.outputs[2], want[2], 1e-6));
}

TEST(NormReluTest, ANanReachesTheResult) {
  const Regions regions({{2, 4, 4, 3}, {.window = {2, 2}, .stride = {2, 2}}}, DType::f32);
  std::vector<oracle::Tensor> inputs = inputs_of(regions.forward, -1);
  inputs[0].values[4] = NAN;  // channel 1
  const KernelRun run = run_kernel(regions.forward, inputs);
  for (int64_t i = 0; i < run.outputs[0].size(); ++i) {
    EXPECT_EQ(std::isnan(run.outputs[0].values[i]), i % 3 == 1);
  }
}

}  // namespace
}  // namespace adjoint::cuda
