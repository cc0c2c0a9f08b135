// The kernel of a last layer with its cross entropy and gradients, on the region that the pass
// makes.
#include "runtime/cuda/linear_cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "graph/block.h"
#include "ops/elementwise.h"
#include "ops/linalg.h"
#include "ops/loss.h"
#include "ops/region.h"
#include "runtime/cuda/kernels/kernel_tester.h"
#include "runtime/patterns.h"
#include "tests/harness/case_graph.h"

namespace adjoint::cuda {
namespace {

using adjoint::testing::close;
using adjoint::testing::sample;

struct Case {
  int64_t rows, features, classes;
  DType labels = DType::i64;
  DType floats = DType::f32;
};

struct Linear {
  Block block{"test"};
  Value region;

  explicit Linear(const Case& c, bool turns_last = true) {
    auto body = std::make_shared<Block>("region");
    std::vector<Value> outer, a;
    const auto operand = [&](DType dtype, std::vector<int64_t> dims) {
      outer.push_back(block.argument("a" + std::to_string(outer.size()), {dtype, Shape::of(dims)}));
      a.push_back(body->argument("a" + std::to_string(a.size()), outer.back().type()));
    };
    operand(c.floats, {c.rows, c.features});
    operand(c.floats, {c.features, c.classes});
    operand(c.floats, {c.classes});
    operand(c.labels, {c.rows});
    operand(c.floats, {c.rows});
    const Value logits = matmul(a[0], a[1]) + a[2];
    const Value loss = softmax_cross_entropy(logits, a[3]);
    const Value dlogits = softmax_cross_entropy_grad(a[4], logits, a[3]);
    const Value dx = matmul(dlogits, a[1], {.transpose_b = turns_last});
    int results = 0;
    for (Value value : {logits, loss, dlogits, dx}) {
      body->result("r" + std::to_string(results++), value);
    }
    region = adjoint::region(block, outer, body);
  }

  std::vector<oracle::Tensor> inputs() const {
    std::vector<oracle::Tensor> inputs;
    for (ValueId operand : region.node().operands) {
      const Type& type = block.type(operand);
      inputs.push_back(sample(adjoint::testing::distinct(), type, 3 + inputs.size()));
    }
    const int64_t classes = inputs[2].size();
    for (int64_t i = 0; i < inputs[3].size(); ++i) inputs[3].values[i] = (7 * i + 3) % classes;
    return inputs;
  }
  bool is_taken() const { return kernel_for(tested_kernels(), region.node(), block) != nullptr; }
};

TEST(LinearCrossEntropy, IsThePassesRegion) {
  EXPECT_EQ(signature(*Linear({2, 3, 4}).region.node().blocks[0]), kLinearCrossEntropy);
}

TEST(LinearCrossEntropy, AgreesWithTheOracle) {
  for (const Case& c :
       {Case{20, 512, 10}, Case{1, 1, 1}, Case{5, 7, 2, DType::u8}, Case{3, 257, 32, DType::i32},
        Case{2, 255, 31}, Case{9, 256, 3}, Case{1030, 3, 9}, Case{2, 700, 24}}) {
    SCOPED_TRACE(c.rows);
    const Linear linear(c);
    ASSERT_TRUE(linear.is_taken());
    const std::vector<oracle::Tensor> inputs = linear.inputs();
    const KernelRun run = run_kernel(linear.region, inputs);
    EXPECT_EQ(run.status.failed, 0);
    const oracle::Outputs want = oracle::evaluate(linear.region.node(), inputs);
    ASSERT_EQ(run.outputs.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      const double relative = 64 * static_cast<double>(oracle::epsilon(want[i].dtype));
      EXPECT_TRUE(close(run.outputs[i], want[i], relative, 1)) << "output " << i;
    }
  }
}

TEST(LinearCrossEntropy, ReportsALabelOutOfRange) {
  const Linear linear({5, 4, 3});
  for (int label : {-1, 3}) {
    std::vector<oracle::Tensor> inputs = linear.inputs();
    inputs[3].values[2] = label;
    const KernelRun run = run_kernel(linear.region, inputs);
    EXPECT_NE(run.status.failed, 0);
    EXPECT_EQ(run.status.value, label);
  }
}

TEST(LinearCrossEntropy, ANanStaysInItsRow) {
  const Linear linear({5, 4, 3});
  std::vector<oracle::Tensor> inputs = linear.inputs();
  inputs[0].values[2 * 4 + 1] = NAN;
  const KernelRun run = run_kernel(linear.region, inputs);
  for (const oracle::Tensor& output : run.outputs) {
    for (int64_t i = 0; i < output.size(); ++i) {
      EXPECT_EQ(std::isnan(output.values[i]), i / (output.size() / 5) == 2) << i;
    }
  }
}

TEST(LinearCrossEntropy, TakesWhatIsSmallAndPlain) {
  EXPECT_FALSE(Linear({2, 4, 33}).is_taken());
  EXPECT_FALSE(Linear({2, 4, 3, DType::i64, DType::f64}).is_taken());
  EXPECT_FALSE(Linear({2, 3, 3}, false).is_taken());
  EXPECT_TRUE(Linear({2, 3, 3}).is_taken());
  EXPECT_FALSE(Linear({0, 4, 3}).is_taken());
  EXPECT_FALSE(Linear({2, 0, 3}).is_taken());
  EXPECT_TRUE(Linear({2, 1000, 20}).is_taken());
  EXPECT_FALSE(Linear({2, 2000, 20}).is_taken());  // the weights are too large for a block
  EXPECT_TRUE(Linear({16 << 10, 64, 8}).is_taken());
  EXPECT_FALSE(Linear({(16 << 10) + 1, 64, 8}).is_taken());  // rather two fast products
}

}  // namespace
}  // namespace adjoint::cuda
