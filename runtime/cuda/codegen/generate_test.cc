// The form of generated sources; what they compute is the suites' matter.
#include "runtime/cuda/codegen/generate.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "graph/block.h"
#include "ops/elementwise.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "runtime/plan.h"

namespace adjoint::cuda {
namespace {

class GenerateTest : public ::testing::Test {
 protected:
  Value argument(DType dtype, const std::vector<int64_t>& dims) {
    return block_.argument("a" + std::to_string(block_.size()), {dtype, Shape::of(dims)});
  }
  std::string source(Value result) const {
    return generate(make_request(block_, result.id().node)).kernel.source;
  }
  // How many elements of the operand are loaded at once.
  int loaded_at_once(Value result) const {
    const std::string text = source(result), call = "load_pack<";
    const size_t at = text.find(call);
    return at == std::string::npos ? 1 : std::stoi(text.substr(at + call.size()));
  }

  Block block_{"test"};
};

TEST_F(GenerateTest, ElementsComeBySixteenBytes) {
  EXPECT_EQ(loaded_at_once(exp(argument(DType::f32, {3, 8}))), 4);
  EXPECT_EQ(loaded_at_once(exp(argument(DType::f64, {3, 8}))), 2);
  EXPECT_EQ(loaded_at_once(exp(argument(DType::bf16, {3, 8}))), 8);
  EXPECT_EQ(loaded_at_once(exp(argument(DType::f32, {3, 7}))), 1);
  EXPECT_EQ(loaded_at_once(exp(argument(DType::f32, {3, 2, 3}))), 2);  // one axis of 18
}

TEST_F(GenerateTest, PermutedIndicesHaveAThreadEach) {
  const Value key = argument(DType::i64, {}), index = argument(DType::i64, {8});
  EXPECT_EQ(loaded_at_once(neg(index)), 2);
  EXPECT_EQ(loaded_at_once(permute_index(key, index, 100)), 1);
}

TEST_F(GenerateTest, ReductionsReadBySixteenBytes) {
  for (const std::vector<int64_t>& axes : {std::vector<int64_t>{0}, {1}, {0, 1}}) {
    EXPECT_EQ(loaded_at_once(sum(argument(DType::f32, {6, 8}), axes)), 4);
    EXPECT_EQ(loaded_at_once(mean(argument(DType::f16, {6, 8}), axes)), 8);
    EXPECT_EQ(loaded_at_once(variance(argument(DType::f64, {6, 8}), axes)), 2);
    EXPECT_EQ(loaded_at_once(max(argument(DType::f32, {5, 7}), axes)), 1);
  }
  EXPECT_EQ(loaded_at_once(argmax(argument(DType::f32, {6, 8}), 1)), 4);
  EXPECT_EQ(loaded_at_once(sum(argument(DType::f32, {6, 6}), {0})), 2);
}

}  // namespace
}  // namespace adjoint::cuda
