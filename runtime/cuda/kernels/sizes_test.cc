// The kernels at sizes around those of warps, blocks and tiles, at ties and NaNs, and with bad
// values.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "graph/block.h"
#include "ops/indexing.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/pool.h"
#include "runtime/cuda/kernels/copy.h"
#include "runtime/cuda/kernels/kernel_tester.h"
#include "tests/harness/case_graph.h"

namespace adjoint::cuda {
namespace {

using adjoint::testing::integers;
using adjoint::testing::listed;
using adjoint::testing::sample;
using adjoint::testing::uniform;

const int64_t kSizes[] = {1, 31, 32, 33, 255, 256, 257, 1023, 1024, 1025, 4097};
const DType kFloats[] = {DType::f32, DType::f64, DType::bf16, DType::f16};

class SizesTest : public ::testing::TestWithParam<int64_t> {
 protected:
  const int64_t n = GetParam();
  Block block{"test"};

  Value argument(DType dtype, const std::vector<int64_t>& dims) {
    return block.argument("a" + std::to_string(block.size()), {dtype, Shape::of(dims)});
  }
};
INSTANTIATE_TEST_SUITE_P(Sizes, SizesTest, ::testing::ValuesIn(kSizes));

TEST_P(SizesTest, Softmax) {
  for (DType dtype : kFloats) {
    EXPECT_TRUE(as_the_oracle(softmax(argument(dtype, {3, n}))));
    EXPECT_TRUE(as_the_oracle(log_softmax(argument(dtype, {n, 2}), 0)));
  }
  EXPECT_TRUE(as_the_oracle(softmax(argument(DType::f32, {n, 7}))));
  EXPECT_TRUE(as_the_oracle(softmax(argument(DType::f32, {5, n}), 0)));
}

TEST_P(SizesTest, CrossEntropy) {
  for (DType dtype : kFloats) {
    const Value logits = argument(dtype, {3, n}), labels = argument(DType::i32, {3});
    EXPECT_TRUE(as_the_oracle(softmax_cross_entropy(logits, labels), {.limit = n}));
    EXPECT_TRUE(as_the_oracle(softmax_cross_entropy_grad(argument(dtype, {3}), logits, labels),
                              {.limit = n}));
    EXPECT_TRUE(as_the_oracle(softmax_cross_entropy_dense(logits, argument(dtype, {3, n}))));
  }
  const Value many = argument(DType::f32, {n, 10}), labels = argument(DType::u8, {n});
  EXPECT_TRUE(as_the_oracle(softmax_cross_entropy(many, labels), {.limit = 10}));
}

TEST_P(SizesTest, BatchNorm) {
  for (DType dtype : kFloats) {
    for (const std::vector<int64_t>& x : {std::vector<int64_t>{n, 3}, {n, 8}, {3, n}}) {
      const Type channels = {dtype, {Dim(x.back())}};
      const Value c = argument(dtype, {x.back()}), in = argument(dtype, x);
      EXPECT_TRUE(as_the_oracle(batch_norm(in, c, c).y));
      EXPECT_TRUE(
          as_the_oracle(batch_norm_grad(argument(dtype, x), in, c, c, c).x, {.variance = 4}));
    }
  }
}

TEST_P(SizesTest, LayerNorm) {
  for (DType dtype : kFloats) {
    for (const std::vector<int64_t>& x : {std::vector<int64_t>{n, 3}, {3, n}}) {
      const Value c = argument(dtype, {x[1]}), row = argument(dtype, {x[0]});
      const Value in = argument(dtype, x);
      EXPECT_TRUE(as_the_oracle(layer_norm(in, c, c).y));
      EXPECT_TRUE(
          as_the_oracle(layer_norm_grad(argument(dtype, x), in, c, row, row).x, {.variance = 4}));
    }
  }
}

TEST_P(SizesTest, Pools) {
  const PoolAttributes pool = {.window = {3, 2}, .stride = {2, 1}, .padding = Padding::same};
  for (DType dtype : kFloats) {
    const Value x = argument(dtype, {1, 4, 3, n});
    const Value y = max_pool(x, pool), dy = argument(dtype, y.shape().static_dims());
    EXPECT_TRUE(as_the_oracle(y));
    EXPECT_TRUE(as_the_oracle(max_pool_grad(dy, x, pool)));
    EXPECT_TRUE(as_the_oracle(max_pool_pick(argument(dtype, {1, 4, 3, n}), x, pool)));
    EXPECT_TRUE(as_the_oracle(avg_pool(x, pool)));
    EXPECT_TRUE(as_the_oracle(avg_pool_grad(dy, x.shape(), pool)));
  }
}

// The double takes its time over the barriers of many blocks: one type is enough there.
TEST_P(SizesTest, ScatterAdd) {
  const std::vector<DType> all = {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8};
  const std::vector<DType> one = {DType::f32};
  for (DType dtype : n < 128 ? all : one) {
    auto indices = [&](int64_t count) { return argument(DType::i64, {count}); };
    EXPECT_TRUE(as_the_oracle(
        scatter_add(argument(dtype, {3, n}), indices(7), argument(dtype, {7, n})), {.limit = 3}));
    EXPECT_TRUE(as_the_oracle(
        scatter_add(argument(dtype, {4, 3}), indices(n), argument(dtype, {n, 3})), {.limit = 4}));
    EXPECT_TRUE(as_the_oracle(
        scatter_add(argument(dtype, {n, 2}), indices(40), argument(dtype, {40, 2})), {.limit = n}));
  }
}

// Blocks that own several rows each, for several outer indices.
TEST(ScatterAddTest, RowsOfTheSameBlock) {
  Block block("test");
  const Value target = block.argument("t", {DType::f32, {Dim(2), Dim(1100), Dim(3)}});
  const Value indices = block.argument("i", {DType::i32, {Dim(60)}});
  const Value updates = block.argument("u", {DType::f32, {Dim(2), Dim(60), Dim(3)}});
  EXPECT_TRUE(as_the_oracle(scatter_add(target, indices, updates, 1), {.limit = 1100}));
}

TEST_P(SizesTest, DynamicUpdateSlice) {
  for (DType dtype : {DType::u8, DType::f16, DType::f32, DType::f64}) {
    const std::vector<Value> starts = {argument(DType::i64, {}), argument(DType::i64, {})};
    EXPECT_TRUE(as_the_oracle(
        dynamic_update_slice(argument(dtype, {n, 3}), argument(dtype, {(n + 1) / 2, 2}), starts),
        {.limit = 4}));
  }
}

// One value among rows; every order of addition must be the same, whoever adds.
TEST(ScatterAddTest, RepeatedIndicesAddInOrder) {
  Block block("test");
  const Value target = block.argument("t", {DType::f32, {Dim(2)}});
  const Value indices = block.argument("i", {DType::u8, {Dim(600)}});
  const Value updates = block.argument("u", {DType::f32, {Dim(600)}});
  const std::vector<oracle::Tensor> inputs = {oracle::filled(DType::f32, {2}, 0),
                                              sample(integers(0, 1), indices.type(), 5),
                                              sample(uniform(-1e6, 1e6), updates.type(), 6)};
  float want[2] = {};
  for (int i = 0; i < 600; ++i) {
    want[static_cast<int>(inputs[1].values[i])] += static_cast<float>(inputs[2].values[i]);
  }
  const KernelRun run = run_kernel(scatter_add(target, indices, updates), inputs);
  EXPECT_EQ(run.outputs[0].values[0], want[0]);
  EXPECT_EQ(run.outputs[0].values[1], want[1]);
}

TEST(PoolTest, TheFirstOfEqualsAndTheFirstNanWin) {
  Block block("test");
  const PoolAttributes pool = {.window = {3, 3}, .stride = {1, 2}};
  const Value x = block.argument("x", {DType::f32, {Dim(2), Dim(5), Dim(7), Dim(5)}});
  const Value y = max_pool(x, pool), dy = block.argument("dy", y.type());
  for (int start = 0; start < 3; ++start) {
    const std::vector<oracle::Tensor> inputs = {
        sample(uniform(-1, 1), dy.type(), 1),
        sample(listed({1, 1, NAN, 2, 2, 2, -INFINITY, 2, 1, 1, 1}), x.type(), start)};
    const Value grad = max_pool_grad(dy, x, pool);
    const KernelRun run = run_kernel(grad, inputs);
    const oracle::Outputs want = oracle::evaluate(grad.node(), inputs);
    EXPECT_TRUE(adjoint::testing::agrees(run.outputs[0], want[0]));
  }
}

TEST(FailuresTest, LabelsOutOfRangeAreReported) {
  Block block("test");
  const Value logits = block.argument("x", {DType::f32, {Dim(40), Dim(10)}});
  const Value labels = block.argument("l", {DType::i64, {Dim(40)}});
  const Value dloss = block.argument("d", {DType::f32, {Dim(40)}});
  for (int64_t bad : {int64_t{-1}, int64_t{10}, int64_t{1} << 40}) {
    oracle::Tensor values = oracle::filled(DType::i64, {40}, 9);
    values.values[33] = bad;
    const oracle::Tensor x = sample(uniform(-1, 1), logits.type(), 1);
    const oracle::Tensor d = sample(uniform(-1, 1), dloss.type(), 2);
    for (const KernelRun& run :
         {run_kernel(softmax_cross_entropy(logits, labels), {x, values}),
          run_kernel(softmax_cross_entropy_grad(dloss, logits, labels), {d, x, values})}) {
      EXPECT_EQ(run.status.failed, 7);
      EXPECT_EQ(run.status.value, bad);
    }
  }
}

TEST(FailuresTest, IndicesOutOfRangeAreReported) {
  Block block("test");
  for (int64_t rows : {0, 4}) {
    const Value target =
        block.argument("t" + std::to_string(rows), {DType::f32, {Dim(rows), Dim(3)}});
    const Value indices = block.argument("i" + std::to_string(rows), {DType::i32, {Dim(2)}});
    const Value updates =
        block.argument("u" + std::to_string(rows), {DType::f32, {Dim(2), Dim(3)}});
    for (int64_t bad : {-1, 4}) {
      const KernelRun run =
          run_kernel(scatter_add(target, indices, updates),
                     {oracle::filled(DType::f32, {rows, 3}, 1),
                      oracle::Tensor{DType::i32, {2}, {static_cast<oracle::Real>(bad), bad * 1.0L}},
                      oracle::filled(DType::f32, {2, 3}, 1)});
      EXPECT_EQ(run.status.failed, 7);
      EXPECT_EQ(run.status.value, bad);
      for (oracle::Real value : run.outputs[0].values) EXPECT_EQ(value, 1);
    }
  }
}

// Copies from one device buffer to another under a guard; what the second holds then.
std::vector<unsigned char> copied(size_t bytes, bool frozen) {
  const Stream stream;
  std::vector<unsigned char> from(bytes + 16), to(bytes + 16, 1);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<unsigned char>(i * 7 + 2);
  const Status status = {.failed = frozen ? 1 : 0};
  const DeviceMemory source(from.size()), target(to.size()), guard(sizeof(Status));
  copy_async(source.data(), from.data(), from.size(), stream.get());
  copy_async(target.data(), to.data(), to.size(), stream.get());
  copy_async(guard.data(), &status, sizeof(status), stream.get());
  const void* inputs[] = {source.data()};
  void* outputs[] = {target.data()};
  KernelCall call;
  call.inputs = inputs;
  call.outputs = outputs;
  call.stream = stream.get();
  call.guard = static_cast<const Status*>(guard.data());
  guarded_copy(call, bytes);
  copy_async(to.data(), target.data(), to.size(), stream.get());
  stream.synchronize();
  return to;
}

TEST(CopyTest, CopiesJustTheBytesUnlessFrozen) {
  for (size_t bytes : {0, 1, 15, 16, 17, 4095, 4096, 4097, 10000}) {
    const std::vector<unsigned char> to = copied(bytes, false), frozen = copied(bytes, true);
    for (size_t i = 0; i < to.size(); ++i) {
      ASSERT_EQ(to[i], i < bytes ? static_cast<unsigned char>(i * 7 + 2) : 1) << bytes;
      ASSERT_EQ(frozen[i], 1) << bytes;
    }
  }
}

}  // namespace
}  // namespace adjoint::cuda
