// The form of generated sources; what they compute is the suites' matter.
#include "runtime/cuda/codegen/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "graph/block.h"
#include "ops/elementwise.h"
#include "ops/indexing.h"
#include "ops/random.h"
#include "ops/reduce.h"
#include "ops/region.h"
#include "runtime/plan.h"

namespace adjoint::cuda {
namespace {

using ::testing::HasSubstr, ::testing::Not;

std::string before(const std::string& text, const std::string& part) {
  return text.substr(0, text.find(part));
}
int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

class GenerateTest : public ::testing::Test {
 protected:
  Value argument(DType dtype, const std::vector<int64_t>& dims) {
    return block_.argument("a" + std::to_string(block_.size()), {dtype, Shape::of(dims)});
  }
  std::string source(Value result) const {
    return generate(make_request(block_, result.id().node)).kernel.source;
  }
  // Of f32[8 n] from x[60,n], whose indices its region permutes among `count`.
  std::string permuted_rows(int64_t n, int64_t count) {
    auto body = std::make_shared<Block>("region");
    const Value x = body->argument("x", {DType::f32, {60, Dim(n)}});
    const Value key = body->argument("key", {DType::i64, {}});
    const Value index = permute_index(key, iota(*body, {8}), count);
    body->result("y", neg(gather(x, index)));
    return source(block_.add_with_origin(
        kRegion, {argument(DType::f32, {60, n}).id(), argument(DType::i64, {}).id()}, {}, {},
        {body}));
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

// Once for the elements of a pack, which are of one row; nothing has to check it again.
TEST_F(GenerateTest, AGatherComputesItsIndexOncePerPack) {
  const std::string rows = permuted_rows(8, 60);
  EXPECT_THAT(rows, HasSubstr("for (int v = 0; v < 4; ++v)"));
  EXPECT_THAT(before(rows, "for (int v"), HasSubstr("philox::permute_index("));
  EXPECT_EQ(count(rows, "philox::permute_index("), 1);
  EXPECT_EQ(count(rows, "checked_index("), 1);
  EXPECT_EQ(count(permuted_rows(8, 61), "checked_index("), 2);
  EXPECT_THAT(permuted_rows(7, 60), HasSubstr("for (int v = 0; v < 1; ++v)"));
}

TEST_F(GenerateTest, LinesAreIndentedAsTheirLoopIs) {
  const std::string rows = permuted_rows(8, 60), start = before(rows, "for (int v");
  EXPECT_THAT(start, HasSubstr("\n  [[maybe_unused]] const "));
  EXPECT_THAT(start, Not(HasSubstr("\n    ")));
  EXPECT_THAT(rows.substr(start.size()), HasSubstr("\n    y0[v] = "));
  EXPECT_THAT(rows.substr(start.size()), HasSubstr("\n  }\n  store_pack("));
}

// Where the elements of a pack would have indices of their own, there are no packs.
TEST_F(GenerateTest, PermutedIndicesAlongAPackHaveAThreadEach) {
  EXPECT_THAT(permuted_rows(1, 60), HasSubstr("for (int v = 0; v < 1; ++v)"));
}

TEST_F(GenerateTest, AGatherMovesWhatItReads) {
  const Value x = argument(DType::f32, {60, 8}), index = argument(DType::i64, {3});
  const Generated gathered = generate(make_request(block_, gather(x, index).id().node));
  EXPECT_EQ(gathered.facts.bytes, 2 * 3 * 8 * 4 + 3 * 8);
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
