// Op cases as functions, and what the suites run them through.
//
//   for each (case, type):  CaseGraph g = build_case(op_case, DType::f32, op_case.batch);
//                           oracle::Feeds feeds = g.feeds(sample(op_case, DType::f32, batch, 0));
//                           EXPECT_TRUE(agrees(interpret(*g.function, feeds)[0], want));
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "graph/module.h"
#include "tests/op_cases/op_case.h"
#include "tests/oracle/oracle.h"

namespace adjoint::testing {

// A case as function "f" of arguments x0, x1 ... with results y0, y1 ...
struct CaseGraph {
  std::unique_ptr<Module> module;
  Function* function = nullptr;
  Values inputs;
  Values outputs;

  // The arguments' values, by name.
  oracle::Feeds feeds(const std::vector<oracle::Tensor>& values) const;
};
// With `batch` 0 the batch stays a symbol.
CaseGraph build_case(const OpCase& op_case, DType dtype, int64_t batch);

// The same function, whose results are the cotangents of the float operands: arguments u0, u1 ...
// are the cotangents of the float outputs, results g0, g1 ... the gradients.
struct GradientGraph : CaseGraph {
  std::vector<int> wrt;     // positions of the float operands
  Values cotangents;        // the arguments u
  Values gradients;         // one for each of wrt
  std::vector<int> seeded;  // positions of the float outputs
};
GradientGraph build_gradient(const OpCase& op_case, DType dtype, int64_t batch);

// What a case should compute: its own oracle, or every node's.
oracle::Outputs expected(const OpCase& op_case, const CaseGraph& graph,
                         const std::vector<oracle::Tensor>& inputs);

// The ops that have cases, in the order of their names.
std::vector<std::string> ops_with_cases();

// The float types that a case is run in: all four, or f32 where it is fixed.
std::vector<DType> types_under_test(const OpCase& op_case);

// `got` is `want` up to the bound that `want` carries (tests/oracle/tensor.h): exactly for
// integers, booleans, NaN and infinities. Values of 16 bits may differ by one unit of theirs more.
::testing::AssertionResult agrees(const oracle::Tensor& got, const oracle::Tensor& want);
// `got` is `want` up to `relative` of the largest magnitude in `want`, or of `scale`.
::testing::AssertionResult close(const oracle::Tensor& got, const oracle::Tensor& want,
                                 double relative, double scale = 0);

// Random values of the same types, from -1 to 1: cotangents and directions.
oracle::Tensor random_like(const Type& type, uint64_t seed);
// The inner product of two lists of tensors, over all their elements.
oracle::Real dot(const std::vector<oracle::Tensor>& a, const std::vector<oracle::Tensor>& b);

// The largest batch for which the operands and results have at most so many elements together; the
// case's own batch where it has no symbol, or is larger already.
int64_t large_batch(const OpCase& op_case, int64_t elements);

// One test for each case and type: INSTANTIATE_TEST_SUITE_P(Ops, X, ::testing::ValuesIn(runs(..))).
struct Run {
  const OpCase* op_case;
  DType dtype;
};
std::vector<Run> runs(bool (*wanted)(const OpCase&), bool all_types);
std::string title(const ::testing::TestParamInfo<Run>& info);
void PrintTo(const Run& run, std::ostream* out);

}  // namespace adjoint::testing
