// Every case, large enough for many shards, and its gradients: the same bits with 1, 2 and 4
// threads.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/harness/case_graph.h"
#include "tests/harness/differences.h"
#include "tests/harness/interpreter.h"

namespace adjoint::testing {
namespace {

class ThreadCounts : public ::testing::TestWithParam<Run> {};

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.type() == b.type() && std::memcmp(a.data(), b.data(), a.byte_count()) == 0;
}

std::vector<Tensor> run_with(int count, const Block& block, const oracle::Feeds& feeds) {
  Tensors tensors;
  for (const auto& [name, tensor] : feeds) tensors.emplace(name, to_runtime(tensor));
  cpu::Threads threads(count);
  return interpret(block, tensors, threads);
}

TEST_P(ThreadCounts, SameBits) {
  const OpCase& op_case = *GetParam().op_case;
  const int64_t batch = large_batch(op_case, 100000);
  CaseGraph graph;
  oracle::Feeds feeds;
  const TensorList inputs = sample(op_case, DType::f32, batch, 0);
  if (op_case.gradient) {
    GradientGraph differentiated = build_gradient(op_case, DType::f32, batch);
    feeds = differentiated.feeds(inputs);
    const TensorList cotangents = random_likes(differentiated.cotangents, 1);
    for (size_t i = 0; i < cotangents.size(); ++i) {
      feeds.emplace("u" + std::to_string(i), cotangents[i]);
    }
    graph = std::move(differentiated);
  } else {
    graph = build_case(op_case, DType::f32, batch);
    feeds = graph.feeds(inputs);
  }
  const std::vector<Tensor> one = run_with(1, *graph.function, feeds);
  for (int threads : {2, 4}) {
    const std::vector<Tensor> more = run_with(threads, *graph.function, feeds);
    for (size_t i = 0; i < one.size(); ++i) {
      EXPECT_TRUE(same_bits(one[i], more[i]))
          << graph.function->results()[i].name << " with " << threads << " threads";
    }
  }
}

std::vector<Run> cases() {
  std::vector<Run> runs;
  for (const OpCase& op_case : all_cases()) runs.push_back({&op_case, DType::f32});
  return runs;
}

INSTANTIATE_TEST_SUITE_P(Ops, ThreadCounts, ::testing::ValuesIn(cases()), title);

}  // namespace
}  // namespace adjoint::testing
